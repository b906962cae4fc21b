/* The canvas: boxes and edges at a scale, panned and zoomed.
 *
 * Only what is inside of the window is drawn; far out, boxes have no text and edges are straight. If
 * frames take long while the graph moves, those after them are drawn like that, too, with a part of
 * the edges, until it rests. Nothing is drawn twice before the screen shows it. */
const SLOW = 24; // ms between two frames
const PART = 4; // of so many edges one is drawn then
const [LEAST_SCALE, MOST_SCALE, TEXT_SCALE] = [0.002, 4, 0.4];
const FONT = "12px ui-monospace, monospace";

class Drawing {
  constructor(canvas, model) {
    this.canvas = canvas;
    this.model = model;
    this.context = canvas.getContext("2d");
    this.shown = null;
    this.view = { x: 0, y: 0, scale: 1 }; // the graph's point in the middle of the canvas
    this.step = 0;
    this.active = new Set(); // boxes
    this.matches = new Set();
    this.chosen = -1; // a node
    this.isMoving = false;
    this.isSlow = false;
    this.drawn = 0; // when the last frame was
    this.frames = 0; // drawn so far
    this.waiting = 0;
    this.readColors();
  }

  readColors() {
    const style = getComputedStyle(document.documentElement);
    const names = ["paper", "ink", "faint", "edge", "leaf", "parameter", "inner", "group", "unknown"];
    this.colors = {};
    for (const name of [...names, "active", "match", "chosen"]) {
      this.colors[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    Object.assign(this, { ratio, width, height });
    this.repaint();
  }

  repaint() {
    this.waiting ||= requestAnimationFrame((now) => {
      this.waiting = 0;
      this.isSlow = this.isMoving && (this.isSlow || (now - this.drawn > SLOW && now - this.drawn < 10 * SLOW));
      this.paint();
      this.drawn = now;
      this.frames++;
    });
  }

  // ---- where things are

  fit() {
    const { left, right, top, bottom } = this.shown.bounds;
    const margin = 24;
    const across = (this.width - 2 * margin) / Math.max(right - left, 1);
    const down = (this.height - 2 * margin) / Math.max(bottom - top, 1);
    const scale = Math.min(Math.max(Math.min(across, down), LEAST_SCALE), 1.25);
    this.view = { x: (left + right) / 2, y: (top + bottom) / 2, scale };
    this.repaint();
  }

  zoom(factor, at = { x: this.width / 2, y: this.height / 2 }) {
    const point = this.inGraph(at);
    const scale = Math.min(Math.max(this.view.scale * factor, LEAST_SCALE), MOST_SCALE);
    const [fromLeft, fromTop] = [at.x - this.width / 2, at.y - this.height / 2];
    this.view = { x: point.x - fromLeft / scale, y: point.y - fromTop / scale, scale };
    this.repaint();
  }

  pan(across, down) {
    this.view.x -= across / this.view.scale;
    this.view.y -= down / this.view.scale;
    this.repaint();
  }

  inGraph({ x, y }) {
    const { view } = this;
    return { x: view.x + (x - this.width / 2) / view.scale, y: view.y + (y - this.height / 2) / view.scale };
  }

  onCanvas({ x, y }) {
    const { view } = this;
    return { x: (x - view.x) * view.scale + this.width / 2, y: (y - view.y) * view.scale + this.height / 2 };
  }

  boxOf(node) {
    return this.shown.boxes[this.shown.boxOf[node]];
  }

  /* Move the graph if this box isn't well inside of the window; close up if asked to. */
  show(box, closely = false) {
    if (closely && this.view.scale < TEXT_SCALE) this.view.scale = 1;
    const { x, y } = this.onCanvas(box);
    const margin = 40;
    const isInside = x > margin && y > margin && x < this.width - margin && y < this.height - margin;
    if (!isInside) [this.view.x, this.view.y] = [box.x, box.y];
    this.repaint();
  }

  at(point) {
    const { x, y } = this.inGraph(point);
    return this.shown.boxes.find(
      (box) => Math.abs(x - box.x) <= box.w / 2 && Math.abs(y - box.y) <= box.h / 2,
    );
  }

  // ---- painting

  paint() {
    const { context, view, ratio, width, height } = this;
    const isPlain = view.scale < TEXT_SCALE || this.isSlow;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.colors.paper;
    context.fillRect(0, 0, width, height);
    const scale = ratio * view.scale;
    context.setTransform(scale, 0, 0, scale, ratio * (width / 2 - view.x * view.scale), ratio * (height / 2 - view.y * view.scale));
    const start = this.inGraph({ x: 0, y: 0 });
    const end = this.inGraph({ x: width, y: height });
    const window = { left: start.x, top: start.y, right: end.x, bottom: end.y };
    this.paintEdges(window, isPlain);
    this.paintBoxes(window, isPlain);
  }

  paintEdges(window, isPlain) {
    const { context, active } = this;
    const { boxes, edges } = this.shown;
    const highlighted = [];
    const stride = this.isSlow ? PART : 1;
    context.beginPath();
    for (let at = 0; at < edges.length; at += stride) {
      const edge = edges[at];
      const [from, to] = [boxes[edge.from], boxes[edge.to]];
      if (isOutside(from, to, window)) continue;
      if (active.size > 1 && active.has(edge.from) && active.has(edge.to)) highlighted.push(edge);
      else this.trace(edge, from, to, isPlain);
    }
    this.stroke(this.colors.edge, 1.2);
    context.beginPath();
    for (const edge of highlighted) this.trace(edge, boxes[edge.from], boxes[edge.to], isPlain);
    this.stroke(this.colors.active, 2.5);
  }

  /* At least half a pixel wide at any scale. */
  stroke(color, width) {
    this.context.strokeStyle = color;
    this.context.lineWidth = Math.max(width, 0.5 / this.view.scale);
    this.context.stroke();
  }

  trace({ points }, from, to, isPlain) {
    const { context } = this;
    const [x, y, endX, endY] = [from.x + from.w / 2, from.y, to.x - to.w / 2, to.y];
    context.moveTo(x, y);
    if (isPlain) {
      context.lineTo(endX, endY);
      return;
    }
    if (points && points.length > 3) {
      for (let i = 1; i < points.length - 2; i++) {
        const [here, next] = [points[i], points[i + 1]];
        context.quadraticCurveTo(here.x, here.y, (here.x + next.x) / 2, (here.y + next.y) / 2);
      }
      const before = points[points.length - 2];
      context.quadraticCurveTo(before.x, before.y, endX, endY);
    } else {
      const half = (endX - x) / 2;
      context.bezierCurveTo(x + half, y, endX - half, endY, endX, endY);
    }
    context.moveTo(endX - 7, endY - 4);
    context.lineTo(endX, endY);
    context.lineTo(endX - 7, endY + 4);
  }

  paintBoxes(window, isPlain) {
    const { context, colors } = this;
    const { boxes } = this.shown;
    context.font = FONT;
    context.textBaseline = "middle";
    const byColor = new Map();
    boxes.forEach((box, at) => {
      if (isOutside(box, box, window)) return;
      const color = this.colorOf(box, at, isPlain);
      if (!byColor.has(color)) byColor.set(color, []);
      byColor.get(color).push(at);
    });
    for (const [color, inside] of byColor) {
      context.fillStyle = color;
      for (const at of inside) {
        const { x, y, w, h } = boxes[at];
        context.fillRect(x - w / 2, y - h / 2, w, h);
      }
    }
    for (const inside of byColor.values()) {
      for (const at of inside) {
        this.paintBorder(boxes[at], at, isPlain);
        if (!isPlain) this.paintText(boxes[at]);
      }
    }
    context.fillStyle = colors.ink;
  }

  colorOf(box, at, isPlain) {
    const { model, colors } = this;
    if (isPlain && this.active.has(at)) return colors.active;
    if (isPlain && this.matches.has(at)) return colors.match;
    if (box.node < 0) return colors.group;
    if (model.hasData && !model.dataAt(box.node, this.step)) return colors.unknown;
    if (model.operands[box.node].length) return colors.inner;
    return model.kind[box.node] === "parameter" ? colors.parameter : colors.leaf;
  }

  paintBorder(box, at, isPlain) {
    const { context, colors } = this;
    const isChosen = this.chosen >= 0 && this.shown.boxOf[this.chosen] === at;
    const marked = this.active.has(at) ? "active" : isChosen ? "chosen" : this.matches.has(at) ? "match" : "";
    if (isPlain && !marked) return;
    context.strokeStyle = marked ? colors[marked] : colors.edge;
    context.lineWidth = Math.max(marked ? 3 : 1, marked ? 2 / this.view.scale : 0);
    context.strokeRect(box.x - box.w / 2, box.y - box.h / 2, box.w, box.h);
  }

  paintText(box) {
    const { model, step } = this;
    const group = model.groups[box.group];
    if (group) {
      this.write(box, -1, group.name, this.colors.ink);
      this.write(box, 0, `${group.nodes.length} nodes`, this.colors.faint);
      this.write(box, 1, "double-click to open", this.colors.faint);
      return;
    }
    const { node } = box;
    const title = `${model.called(node)}   ${model.made[node]}`;
    const data = model.dataAt(node, step);
    const gradient = model.gradientAt(node, step);
    this.write(box, -1, title, this.colors.ink);
    this.write(box, 0, data && `data ${short(data)}`, this.colors.ink);
    this.write(box, 1, gradient && `grad ${short(gradient)}`, this.colors.faint);
  }

  write(box, line, text, color) {
    if (!text) return;
    const room = Math.floor((box.w - 16) / 7.3);
    this.context.fillStyle = color;
    this.context.fillText(
      text.length > room ? `${text.slice(0, room - 1)}…` : text,
      box.x - box.w / 2 + 8,
      box.y + line * 17,
      box.w - 12,
    );
  }
}

/* Is the smallest rectangle around both boxes outside of the window? */
function isOutside(one, other, window) {
  const across = Math.max(one.w, other.w) / 2;
  const down = Math.max(one.h, other.h) / 2;
  return (
    Math.max(one.x, other.x) + across < window.left ||
    Math.min(one.x, other.x) - across > window.right ||
    Math.max(one.y, other.y) + down < window.top ||
    Math.min(one.y, other.y) - down > window.bottom
  );
}
