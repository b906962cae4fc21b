/* What clicks, keys and the mouse do. */
const READABLE = 60; // with more nodes than that a graph opens with its layers collapsed
class Viewer {
  constructor(model) {
    this.model = model;
    this.step = model.last;
    this.timer = 0;
    this.found = [];
    this.collapsed = new Set();
    this.drawing = new Drawing(element("graph"), model);
    this.panel = new Panel(model, (node) => this.choose(node), (group) => this.toggle(group));
    if (model.count > READABLE) model.groups.forEach((_, at) => this.collapsed.add(at));
    this.listen();
    this.arrange();
    this.drawing.resize();
    this.begin();
  }

  /* All of a small graph; of a large one the root, where numbers can be read. */
  begin() {
    const { drawing, model } = this;
    drawing.fit();
    if (drawing.view.scale < TEXT_SCALE) {
      drawing.view.scale = 0.7;
      drawing.show(drawing.boxOf(model.root));
      const { x, y } = drawing.boxOf(model.root);
      Object.assign(drawing.view, { x: x - (drawing.width / 2 - WIDTH) / drawing.view.scale, y });
    }
    this.goTo(this.step);
    this.choose(model.root);
  }

  arrange() {
    this.drawing.shown = arrange(this.model, this.collapsed);
    element("collapse").disabled = this.collapsed.size === this.model.groups.length;
    element("expand").disabled = this.collapsed.size === 0;
    this.mark();
  }

  /* Boxes of the step and of what was searched for. */
  mark() {
    const { drawing, model } = this;
    const boxes = (nodes) => new Set(nodes.map((node) => drawing.shown.boxOf[node]));
    drawing.active = boxes(model.stepAt(this.step).nodes);
    drawing.matches = boxes(this.found);
    drawing.step = this.step;
    drawing.repaint();
  }

  // ---- steps

  goTo(step) {
    const { model, drawing } = this;
    this.step = Math.min(Math.max(step, 0), model.last);
    const { nodes, op } = model.stepAt(this.step);
    this.mark();
    this.panel.showStep(this.step);
    if (op >= 0) drawing.chosen = op;
    if (nodes.length && this.step < model.last) drawing.show(drawing.boxOf(nodes[0]));
    this.showChosen();
  }

  showChosen() {
    const { chosen } = this.drawing;
    this.panel.showNode(chosen, this.step, this.collapsed.has(this.model.groupOf[chosen]));
  }

  play() {
    const isPlaying = this.timer !== 0;
    clearInterval(this.timer);
    this.timer = 0;
    if (!isPlaying) {
      if (this.step === this.model.last) this.goTo(0);
      this.timer = setInterval(() => {
        this.goTo(this.step + 1);
        if (this.step === this.model.last) this.play();
      }, 700);
    }
    element("play").textContent = this.timer ? "❚❚" : "▷";
    element("play").setAttribute("aria-label", this.timer ? "Pause" : "Play");
  }

  // ---- nodes and groups

  choose(node) {
    this.drawing.chosen = node;
    if (node >= 0) this.drawing.show(this.drawing.boxOf(node));
    this.showChosen();
  }

  toggle(group) {
    if (group < 0) return;
    if (!this.collapsed.delete(group)) this.collapsed.add(group);
    this.rearrange(this.model.groups[group].nodes[0]);
  }

  collapseAll(isCollapsed) {
    this.collapsed = new Set(isCollapsed ? this.model.groups.keys() : []);
    this.rearrange(this.drawing.chosen);
  }

  /* Arrange anew, and keep the box of this node where it is on the screen. */
  rearrange(node) {
    const { drawing } = this;
    const kept = node >= 0 ? drawing.onCanvas(drawing.boxOf(node)) : null;
    this.arrange();
    if (kept) {
      const now = drawing.onCanvas(drawing.boxOf(node));
      drawing.pan(kept.x - now.x, kept.y - now.y);
      drawing.show(drawing.boxOf(node));
    }
    this.showChosen();
  }

  search(text) {
    this.found = this.model.search(text);
    this.next = 0;
    const count = this.found.length;
    element("matches").textContent = text.trim() ? `${count} ${count === 1 ? "match" : "matches"}` : "";
    this.mark();
  }

  showMatch() {
    if (!this.found.length) return;
    const node = this.found[this.next++ % this.found.length];
    this.drawing.show(this.drawing.boxOf(node), true);
    this.choose(node);
  }

  // ---- events

  listen() {
    const steps = { first: () => 0, back: () => this.step - 1, forward: () => this.step + 1, last: () => this.model.last };
    for (const [id, step] of Object.entries(steps)) {
      element(id).addEventListener("click", () => this.goTo(step()));
    }
    const on = (id, event, act) => element(id).addEventListener(event, act);
    on("play", "click", () => this.play());
    on("step", "input", () => this.goTo(Number(element("step").value)));
    on("fit", "click", () => this.drawing.fit());
    on("larger", "click", () => this.drawing.zoom(1.3));
    on("smaller", "click", () => this.drawing.zoom(1 / 1.3));
    on("collapse", "click", () => this.collapseAll(true));
    on("expand", "click", () => this.collapseAll(false));
    on("search", "input", () => this.search(element("search").value));
    on("search", "keydown", (event) => event.key === "Enter" && this.showMatch());
    this.listenToMouse(element("graph"));
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => {
      const wasHidden = !this.drawing.width;
      this.drawing.resize();
      if (wasHidden) this.begin();
    }).observe(element("graph"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.drawing.readColors();
      this.drawing.repaint();
    });
  }

  key(event) {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target instanceof HTMLButtonElement) return;
    const acts = {
      ArrowRight: () => this.goTo(this.step + 1),
      ArrowLeft: () => this.goTo(this.step - 1),
      Home: () => this.goTo(0),
      End: () => this.goTo(this.model.last),
      " ": () => this.play(),
      "+": () => this.drawing.zoom(1.3),
      "-": () => this.drawing.zoom(1 / 1.3),
      f: () => this.drawing.fit(),
      c: () => this.collapseAll(true),
      e: () => this.collapseAll(false),
      "/": () => element("search").focus(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  listenToMouse(canvas) {
    const { drawing } = this;
    const point = (event) => ({ x: event.offsetX, y: event.offsetY });
    let from = null; // where the button went down, and how far the graph was dragged since
    canvas.addEventListener("pointerdown", (event) => {
      from = { ...point(event), distance: 0 };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const { x, y } = point(event);
      from.distance += Math.hypot(x - from.x, y - from.y);
      drawing.isMoving = true;
      canvas.classList.add("dragged");
      drawing.pan(x - from.x, y - from.y);
      Object.assign(from, { x, y });
    });
    const stop = (event) => {
      if (from && from.distance < 4 && event.type === "pointerup") {
        const box = drawing.at(point(event));
        if (box) this.choose(box.node >= 0 ? box.node : this.model.groups[box.group].nodes.at(-1));
      }
      from = null;
      drawing.isMoving = false;
      canvas.classList.remove("dragged");
      drawing.repaint();
    };
    canvas.addEventListener("pointerup", stop);
    canvas.addEventListener("pointercancel", stop);
    canvas.addEventListener("dblclick", (event) => {
      const box = drawing.at(point(event));
      if (box) this.toggle(box.node >= 0 ? this.model.groupOf[box.node] : box.group);
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        drawing.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), point(event));
      },
      { passive: false },
    );
  }
}

window.viewer = new Viewer(new Model(JSON.parse(element("described").textContent)));
