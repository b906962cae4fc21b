/* The texts beside the canvas. Everything from the graph is set as text, never as HTML. */
class Panel {
  /* choose(node) is called when a node's name is clicked, toggle(group) for its layer. */
  constructor(model, choose, toggle) {
    Object.assign(this, { model, choose, toggle });
    element("title").textContent = model.title;
    document.title = `${model.title} – pygradc`;
    element("step").max = model.last;
    element("player").hidden = !model.hasData;
    element("notes").replaceChildren(...model.notes.map((note) => line(note)));
    element("notes").hidden = !model.notes.length;
  }

  showStep(step) {
    const { model } = this;
    const { lines, isError } = model.stepAt(step);
    const phase = step === 0 ? "start" : step < model.seed ? "forward" : "backward";
    element("count").textContent = `step ${step} of ${model.last}: ${phase}`;
    element("text").replaceChildren(...lines.map((text) => line(text, isError ? "error" : "")));
    element("step").value = step;
    for (const id of ["first", "back"]) element(id).disabled = step === 0;
    for (const id of ["forward", "last"]) element(id).disabled = step === model.last;
  }

  showNode(node, step, isCollapsed) {
    const { model } = this;
    element("details").hidden = node < 0;
    const row = node < 0 ? null : model.rowOf(node);
    element("op").hidden = !row;
    if (node < 0) return;
    const made = model.made[node] || model.kind[node] || "leaf";
    const label = model.label[node];
    element("name").textContent = label ? `${label} (${model.name[node]}): ${made}` : `${model.name[node]}: ${made}`;
    element("data").textContent = model.dataAt(node, step) || (model.hasData ? "not computed yet" : "–");
    element("gradient").textContent = model.gradientAt(node, step) || "–";
    element("held").textContent = model.held[node] || "–";
    element("note").textContent = model.note[node] || "";
    this.showNodes(element("operands"), model.operands[node], model.number[node]);
    this.showNodes(element("users"), model.users[node], "");
    this.showGroup(model.groupOf[node], isCollapsed);
    if (row) this.showRow(row);
  }

  showNodes(place, nodes, number) {
    const most = 24; // of thousands, the first
    const links = nodes.slice(0, most).map((node) => link(this.model.called(node), () => this.choose(node)));
    if (nodes.length > most) links.push(`and ${nodes.length - most} more`);
    if (number) links.push(`number ${number}`);
    place.replaceChildren(...(links.length ? links : ["–"]));
  }

  showGroup(group, isCollapsed) {
    const place = element("place");
    place.replaceChildren();
    if (group < 0) return;
    const name = this.model.groups[group].name;
    place.append(`in ${name} `, link(isCollapsed ? "open" : "collapse", () => this.toggle(group)));
  }

  showRow(row) {
    element("op-name").textContent = row.name;
    element("op-value").textContent = row.value;
    element("op-da").textContent = row.derivatives[0];
    element("op-db").textContent = row.derivatives[1] || "–";
    element("op-doc").textContent = row.doc;
  }
}

function element(id) {
  return document.getElementById(id);
}

function line(text, className = "") {
  const made = document.createElement("p");
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function link(text, act) {
  const made = document.createElement("button");
  made.className = "link";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}
