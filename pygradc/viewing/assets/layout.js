/* Boxes and edges, and where they are.
 *
 * A box is a node, or a collapsed group. dagre lays out what it can in half a second; its time grows
 * with more than the square of the numbers of boxes and edges. More of them than `FEW` stand in
 * columns, by the longest path that leads to them. */
const FEW = { boxes: 300, edges: 450 };
const [WIDTH, HEIGHT, ACROSS, DOWN] = [136, 58, 60, 16];

/* The boxes of a model whose groups in `collapsed` are closed, and the edges between boxes. */
function arrange(model, collapsed) {
  const boxes = [];
  const boxOf = new Int32Array(model.count);
  const boxOfGroup = new Map();
  for (let node = 0; node < model.count; node++) {
    const group = model.groupOf[node];
    if (group >= 0 && collapsed.has(group)) {
      if (!boxOfGroup.has(group)) {
        boxOfGroup.set(group, boxes.length);
        boxes.push({ node: -1, group, x: 0, y: 0, w: WIDTH + 60, h: HEIGHT });
      }
      boxOf[node] = boxOfGroup.get(group);
    } else {
      boxOf[node] = boxes.length;
      boxes.push({ node, group: -1, x: 0, y: 0, w: WIDTH, h: HEIGHT });
    }
  }
  const edges = edgesBetween(model, boxOf, boxes.length);
  const shown = { boxes, boxOf, edges, bounds: null };
  if (boxes.length <= FEW.boxes && edges.length <= FEW.edges) layOutByDagre(shown);
  else layOutInColumns(shown);
  shown.bounds = boundsOf(boxes);
  return shown;
}

function edgesBetween(model, boxOf, count) {
  const seen = new Set();
  const edges = [];
  model.operands.forEach((operands, node) => {
    const to = boxOf[node];
    for (const operand of operands) {
      const from = boxOf[operand];
      const key = from * count + to;
      if (from === to || seen.has(key)) continue;
      seen.add(key);
      edges.push({ from, to, points: null });
    }
  });
  return edges;
}

function layOutByDagre({ boxes, edges }) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: DOWN, ranksep: ACROSS, edgesep: 8 });
  boxes.forEach((box, at) => graph.setNode(String(at), { width: box.w, height: box.h }));
  edges.forEach(({ from, to }) => graph.setEdge(String(from), String(to), {}));
  dagre.layout(graph);
  boxes.forEach((box, at) => {
    const { x, y } = graph.node(String(at));
    [box.x, box.y] = [x, y];
  });
  for (const edge of edges) edge.points = graph.edge(String(edge.from), String(edge.to)).points;
}

function layOutInColumns({ boxes, edges }) {
  const before = boxes.map(() => []);
  const after = boxes.map(() => []);
  for (const { from, to } of edges) {
    before[to].push(from);
    after[from].push(to);
  }
  const columns = [];
  depths(before, after).forEach((depth, at) => (columns[depth] ??= []).push(at));
  columns.forEach((column, depth) => {
    for (const at of column) boxes[at].x = depth * (WIDTH + 60 + ACROSS);
    order(column, boxes, before);
  });
  columns.reverse().forEach((column) => order(column, boxes, after));
}

/* Each box in the middle of its neighbours on one side, as far as there is room. */
function order(column, boxes, neighbours) {
  const heights = new Map();
  for (const at of column) {
    const near = neighbours[at];
    heights.set(at, near.length ? mean(near.map((i) => boxes[i].y)) : boxes[at].y);
  }
  column.sort((one, other) => heights.get(one) - heights.get(other) || one - other);
  column.forEach((at, place) => {
    boxes[at].y = (place - (column.length - 1) / 2) * (HEIGHT + DOWN);
  });
}

/* The length of the longest path to each box. A leaf stands just before the first box that uses it. */
function depths(before, after) {
  const depth = new Int32Array(before.length);
  const missing = before.map((each) => each.length);
  const ready = [];
  missing.forEach((count, at) => count === 0 && ready.push(at));
  while (ready.length) {
    const at = ready.pop();
    for (const next of after[at]) {
      depth[next] = Math.max(depth[next], depth[at] + 1);
      if (--missing[next] === 0) ready.push(next);
    }
  }
  before.forEach((each, at) => {
    if (each.length || !after[at].length) return;
    let first = Infinity;
    for (const next of after[at]) first = Math.min(first, depth[next]);
    depth[at] = first - 1;
  });
  return depth;
}

function mean(numbers) {
  let sum = 0;
  for (const each of numbers) sum += each;
  return sum / numbers.length;
}

function boundsOf(boxes) {
  const bounds = { left: Infinity, right: -Infinity, top: Infinity, bottom: -Infinity };
  for (const { x, y, w, h } of boxes) {
    bounds.left = Math.min(bounds.left, x - w / 2);
    bounds.right = Math.max(bounds.right, x + w / 2);
    bounds.top = Math.min(bounds.top, y - h / 2);
    bounds.bottom = Math.max(bounds.bottom, y + h / 2);
  }
  return bounds;
}
