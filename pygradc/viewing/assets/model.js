/* The graph as it was described, and what is known of it at each step.
 *
 * Steps: 0, only leaves have data; then one for each inner node, forward; then the root's gradient,
 * 1; then one for each contribution to a gradient. All numbers are texts, written by Python: none is
 * computed here. */
class Model {
  constructor(described) {
    Object.assign(this, described.nodes);
    this.rows = described.rows;
    this.title = described.title;
    this.root = described.root;
    this.groups = described.groups;
    this.forward = described.forward;
    this.gives = described.backward;
    this.stops = described.stops;
    this.notes = described.notes;
    this.count = this.name.length;
    this.groupOf = new Int32Array(this.count).fill(-1);
    this.groups.forEach((group, at) => group.nodes.forEach((node) => (this.groupOf[node] = at)));
    this.users = this.name.map(() => []);
    this.operands.forEach((operands, node) => {
      for (const operand of new Set(operands)) this.users[operand].push(node);
    });
    this.hasData = this.data[this.root] !== "";
    this.seed = this.forward.length + 1;
    this.ends = this.seed + this.gives.source.length;
    this.last = this.hasData ? this.ends + (this.stops ? 1 : 0) : 0;
    this.computed = new Int32Array(this.count); // the step that computes it; 0 for a leaf
    this.forward.forEach((node, at) => (this.computed[node] = at + 1));
    this.received = this.name.map(() => []); // the contributions to each, in order
    this.gives.target.forEach((node, at) => this.received[node].push(at));
  }

  dataAt(node, step) {
    return this.computed[node] <= step ? this.data[node] : "";
  }

  gradientAt(node, step) {
    if (!this.hasData || step < this.seed) return "";
    const done = step - this.seed;
    const received = this.received[node];
    let from = 0;
    for (let to = received.length; from < to; ) {
      const middle = (from + to) >> 1;
      if (received[middle] < done) from = middle + 1;
      else to = middle;
    }
    if (from > 0) return this.gives.total[received[from - 1]];
    return node === this.root ? "1.0" : "0.0";
  }

  called(node) {
    return this.label[node] || this.name[node];
  }

  rowOf(node) {
    return this.row[node] < 0 ? null : this.rows[this.row[node]];
  }

  /* What happens at a step: its nodes, the one whose op it is, and lines of text. */
  stepAt(step) {
    if (step < 1) return { nodes: [], op: -1, lines: this.hasData ? ["Only the leaves have data."] : [] };
    if (step < this.seed) return this.forwardStep(this.forward[step - 1]);
    if (step === this.seed) {
      const lines = [`${this.called(this.root)}.grad = 1.0`, "the derivative of the root by itself"];
      return { nodes: [this.root], op: -1, lines };
    }
    if (step <= this.ends) return this.backwardStep(step - this.seed - 1);
    return { nodes: [], op: -1, lines: [`backward() stops here: ${this.stops}`], isError: true };
  }

  forwardStep(node) {
    const operands = this.operands[node];
    const row = this.rowOf(node);
    const lines = [`${this.called(node)} = ${this.written(node, (i) => this.called(operands[i]))}`];
    if (row || this.formula[node]) lines.push(`= ${this.written(node, (i) => this.data[operands[i]])}`);
    lines.push(`= ${this.data[node]}`);
    return { nodes: [node], op: node, lines };
  }

  /* The formula, with a text for each operand. */
  written(node, text) {
    const row = this.rowOf(node);
    if (this.formula[node]) {
      return this.formula[node].replace(/\{(\d+)\}/g, (_, i) => inside(text(Number(i))));
    }
    if (!row) return `${this.made[node]}(${this.operands[node].map((_, i) => text(i)).join(", ")})`;
    const second = this.operands[node].length > 1 ? text(1) : this.number[node] || "b";
    return row.value.replace(/\b[ab]\b/g, (name) => inside(name === "a" ? text(0) : second));
  }

  backwardStep(at) {
    const { source, target, slot, slope, amount, total } = this.gives;
    const [from, to] = [this.called(source[at]), this.called(target[at])];
    const lines = [];
    if (slope[at]) {
      const gradient = this.gradientAt(source[at], this.seed + at);
      lines.push(`${to}.grad += d ${from} / d ${to} · ${from}.grad`);
      lines.push(`+= ${inside(slope[at])} · ${inside(gradient)} = ${amount[at]}`);
    } else {
      lines.push(`${to}.grad += ${amount[at]}, by ${from}'s _backward`);
    }
    lines.push(`${to}.grad = ${total[at]}`);
    return { nodes: [target[at], source[at]], op: source[at], slot: slot[at], lines };
  }

  /* The nodes whose label, op or name contains a text; a whole name, such as n12, first. */
  search(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return [];
    const found = [];
    for (let node = 0; node < this.count; node++) {
      const row = this.rowOf(node);
      const texts = [this.label[node], this.made[node], row ? row.name : "", this.name[node]];
      if (texts[3] === wanted || texts[0].toLowerCase() === wanted) found.unshift(node);
      else if (texts.slice(0, 3).some((each) => each.toLowerCase().includes(wanted))) found.push(node);
    }
    return found;
  }
}

/* A number inside of a formula: a negative one in parentheses. */
function inside(text) {
  return text.startsWith("-") ? `(${text})` : text;
}

/* A number for a box, which has room for few digits. */
function short(text) {
  if (text.length <= 9) return text;
  const digits = String(Number(Number(text).toPrecision(5)));
  return digits.length <= 11 ? digits : Number(text).toExponential(4);
}
