/* record.c - graph to tape: what a traced function's outputs were computed from.
 *
 * While a function is traced it runs on ordinary nodes. Its inputs are leaves that hold nan; nodes
 * that lived before the trace are flagged as old, and are the parameters, whatever they were made
 * of. A leaf that the function made is a constant. The trace's end is in outlive.c. Nodes that
 * can't be replayed (a closure, given derivatives) stop the recording. The walk is depth first,
 * children from left to right, so the tape comes in backward()'s order. Owns nothing but its
 * scratch. Cost: O(nodes reached); one pass over the arena at either end of a trace. */
#include "ops/kernels.h"
#include "record/tape.h"
#include "graph/verify.h"

#include <string.h>

enum { no_node_yet = 0 };

void pg_trace_begin(pg_graph *graph) {
    graph->tracing = true;
    for (size_t i = 1; i < graph->used; i++)
        if (graph->nodes[i].op != PG_OP_FREE) graph->nodes[i].flags |= PG_FLAG_OLD;
}

pg_status pg_trace_input(pg_graph *graph, pg_node_id *id_ret) {
    pg_status status = pg_graph_leaf(graph, id_ret, NAN);
    if (status == PG_OK) graph->nodes[*id_ret].flags |= PG_FLAG_INPUT;
    return status;
}

static bool all_alive(const pg_graph *graph, const pg_node_id *ids, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!pg_alive(graph, ids[i])) return false;
    return true;
}

/* A node of these living operands that only a recording understands; its data are known only if
 * theirs are. The first `receivers` of them are those that a gradient goes to. */
static pg_status add_symbol(pg_graph *graph, pg_node_id *id_ret, pg_wide_kind kind, double data,
                            const pg_node_id *operands, size_t count, size_t receivers) {
    uint8_t flags = receivers > 0 ? PG_FLAG_DETACHED : 0;
    for (size_t i = 0; i < receivers; i++) flags &= graph->nodes[operands[i]].flags;
    for (size_t i = 0; i < count; i++)
        if (isnan(graph->nodes[operands[i]].data)) data = NAN;
    pg_status status = pg_graph_wide(graph, id_ret, data, operands, NULL, count);
    if (status != PG_OK) return status;
    graph->nodes[*id_ret].of.wide->kind = kind;
    graph->nodes[*id_ret].flags |= flags;
    return PG_OK;
}

pg_status pg_trace_select(pg_graph *graph, pg_node_id *id_ret, int compare, pg_node_id left,
                          pg_node_id right, pg_node_id a, pg_node_id b) {
    const pg_node_id operands[] = {a, b, left, right};
    if (compare < 0 || compare >= PG_COMPARE_COUNT) return PG_ERR_BAD_OP;
    if (!all_alive(graph, operands, 4)) return PG_ERR_BAD_NODE;
    const pg_node *nodes = graph->nodes;
    const bool holds = pg_compares(compare, nodes[left].data, nodes[right].data);
    return add_symbol(graph, id_ret, (pg_wide_kind)(PG_WIDE_SELECT + compare),
                      nodes[holds ? a : b].data, operands, 4, 2);
}

pg_status pg_trace_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a) {
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    return add_symbol(graph, id_ret, PG_WIDE_DETACH, graph->nodes[a].data, &a, 1, 0);
}

pg_status pg_trace_custom(pg_graph *graph, pg_node_id *id_ret, pg_node_id value,
                          const pg_node_id *operands, const pg_node_id *slopes, size_t count) {
    if (count == 0 || !pg_alive(graph, value) || !all_alive(graph, operands, count) ||
        !all_alive(graph, slopes, count))
        return PG_ERR_BAD_NODE;
    pg_node_id *all = pg_realloc(NULL, 2 * count + 1, sizeof *all);
    if (all == NULL) return PG_ERR_NOMEM;
    memcpy(all, operands, count * sizeof *all);
    all[count] = value;
    memcpy(all + count + 1, slopes, count * sizeof *all);
    pg_status status = add_symbol(graph, id_ret, PG_WIDE_RULE, graph->nodes[value].data, all,
                                  2 * count + 1, count);
    pg_free(all);
    return status;
}

pg_status pg_graph_where(pg_graph *graph, pg_node_id *id_ret, int condition, pg_node_id a,
                         pg_node_id b) {
    const pg_node_id children[] = {a, b};
    const double locals[] = {condition ? 1.0 : 0.0, condition ? 0.0 : 1.0};
    if (!all_alive(graph, children, 2)) return PG_ERR_BAD_NODE;
    pg_status status =
        pg_graph_wide(graph, id_ret, graph->nodes[condition ? a : b].data, children, locals, 2);
    if (status == PG_OK) graph->nodes[*id_ret].of.wide->kind = PG_WIDE_CHOICE;
    return status;
}

/* ---- The walk -------------------------------------------------------------------------------- */

typedef struct frame {
    pg_node_id id;
    uint32_t next; /* the child that the walk comes to next */
} frame;

typedef struct walker {
    pg_graph *graph;
    uint32_t *value_of; /* for each slot of the arena its value + 1; 0: not seen yet */
    frame *stack;
    size_t depth, capacity;
} walker;

static pg_status walker_begin(walker *walk, pg_graph *graph) {
    *walk = (walker){.graph = graph};
    walk->value_of = pg_realloc(NULL, graph->used, sizeof *walk->value_of);
    if (walk->value_of == NULL) return PG_ERR_NOMEM;
    memset(walk->value_of, 0, graph->used * sizeof *walk->value_of);
    return PG_OK;
}

static void walker_end(walker *walk) {
    pg_free(walk->value_of);
    pg_free(walk->stack);
}

static pg_status push(walker *walk, pg_node_id id) {
    if (pg_grow((void **)&walk->stack, &walk->capacity, walk->depth, sizeof *walk->stack) < 0)
        return PG_ERR_NOMEM;
    walk->stack[walk->depth++] = (frame){id, 0};
    return PG_OK;
}

/* The walk ends here: a leaf, or a node that was there before the trace. */
static bool is_end(const pg_node *node) {
    return node->op == PG_OP_LEAF || (node->flags & PG_FLAG_OLD) != 0;
}

/* The next child of the frame on top that was not seen yet, or 0. */
static pg_node_id next_child(walker *walk) {
    frame *top = &walk->stack[walk->depth - 1];
    size_t count;
    const pg_node_id *held = pg_holds(&walk->graph->nodes[top->id], &count);
    while (top->next < count) {
        pg_node_id child = held[top->next++];
        if (walk->value_of[child] == no_node_yet) return child;
    }
    return 0;
}

/* Come to the children of a node: 1 if one of them has one of these flags, 0, or -1 without memory.
 * Those that don't end the walk are pushed. */
static int look_at_children(walker *walk, pg_node_id id, uint16_t mark, uint8_t flags) {
    size_t count;
    const pg_node_id *held = pg_holds(&walk->graph->nodes[id], &count);
    for (size_t i = 0; i < count; i++) {
        pg_node *child = &walk->graph->nodes[held[i]];
        if (child->mark == mark) continue;
        child->mark = mark;
        if (is_end(child) && (child->flags & flags)) return 1;
        if (!is_end(child) && push(walk, held[i]) != PG_OK) return -1;
    }
    return 0;
}

/* Does it, or an end below it, have one of these flags? 1, 0; -1 without memory. */
static int reaches(pg_graph *graph, pg_node_id id, uint8_t flags) {
    const pg_node *node = &graph->nodes[id];
    if (is_end(node)) return (node->flags & flags) != 0;
    walker walk = {.graph = graph};
    const uint16_t mark = pg_walk_mark(graph);
    int found = push(&walk, id) == PG_OK ? 0 : -1;
    while (found == 0 && walk.depth > 0)
        found = look_at_children(&walk, walk.stack[--walk.depth].id, mark, flags);
    pg_free(walk.stack);
    return found;
}

int pg_trace_depends(pg_graph *graph, pg_node_id id) { return reaches(graph, id, PG_FLAG_INPUT); }

int pg_trace_varies(pg_graph *graph, pg_node_id id) {
    return reaches(graph, id, PG_FLAG_INPUT | PG_FLAG_OLD);
}

pg_status pg_trace_judge(pg_graph *graph, pg_status status, pg_node_id a, pg_node_id b) {
    if (graph->hooks.recording != NULL && !graph->hooks.recording()) return status;
    int depends = a != 0 ? pg_trace_varies(graph, a) : 0;
    if (depends == 0 && b != 0) depends = pg_trace_varies(graph, b);
    if (depends < 0) return PG_ERR_NOMEM;
    return depends != 0 ? PG_OK : status;
}

/* ---- Nodes to values ------------------------------------------------------------------------- */

static pg_status add_param(pg_tape *tape, uint32_t *value_ret, pg_node_id id, double data) {
    if (pg_grow((void **)&tape->params, &tape->param_capacity, tape->param_count,
                sizeof *tape->params) < 0)
        return PG_ERR_NOMEM;
    tape->params[tape->param_count++] = id;
    return pg_tape_add(tape, value_ret, (pg_value){.op = PG_OP_PARAM, .number = data});
}

/* A custom op: its value, and a derivative by each operand. */
static pg_status add_rule(pg_tape *tape, uint32_t *value_ret, const walker *walk,
                          const pg_wide *wide) {
    const uint32_t count = (uint32_t)(wide->count / 2);
    pg_value value = {.op = PG_OP_CUSTOM, .number = NAN, .b = PG_NO_VALUE, .count = count};
    value.a = walk->value_of[wide->ids[count]] - 1;
    value.first = (uint32_t)tape->pair_count;
    for (uint32_t i = 0; i < count; i++) {
        pg_status status = pg_tape_add_pair(tape, walk->value_of[wide->ids[i]] - 1,
                                            walk->value_of[wide->ids[count + 1 + i]] - 1);
        if (status != PG_OK) return status;
    }
    return pg_tape_add(tape, value_ret, value);
}

static pg_status add_wide(pg_tape *tape, uint32_t *value_ret, const walker *walk,
                          const pg_wide *wide) {
    if (wide->kind == PG_WIDE_RULE) return add_rule(tape, value_ret, walk, wide);
    pg_value value = {.number = NAN, .a = walk->value_of[wide->ids[0]] - 1, .b = PG_NO_VALUE};
    if (wide->kind == PG_WIDE_DETACH) {
        value.op = PG_OP_DETACH;
        return pg_tape_add(tape, value_ret, value);
    }
    value.op = PG_OP_SELECT;
    value.compare = (uint8_t)(wide->kind - PG_WIDE_SELECT);
    value.b = walk->value_of[wide->ids[1]] - 1;
    value.first = (uint32_t)tape->pair_count;
    value.count = 1;
    pg_status status =
        pg_tape_add_pair(tape, walk->value_of[wide->ids[2]] - 1, walk->value_of[wide->ids[3]] - 1);
    return status == PG_OK ? pg_tape_add(tape, value_ret, value) : status;
}

/* The value of a node whose children have theirs. */
static pg_status add_node(pg_tape *tape, walker *walk, pg_node_id id) {
    const pg_node *node = &walk->graph->nodes[id];
    uint32_t number;
    pg_status status;
    if (node->flags & PG_FLAG_OLD) {
        status = add_param(tape, &number, id, node->data);
        if (status == PG_OK && (node->flags & PG_FLAG_DETACHED))
            status = pg_tape_add(
                tape, &number,
                (pg_value){.op = PG_OP_DETACH, .number = NAN, .a = number, .b = PG_NO_VALUE});
    } else if (node->op == PG_OP_LEAF) {
        status = pg_tape_add(tape, &number, (pg_value){.op = PG_OP_CONST, .number = node->data});
    } else if (node->op == PG_OP_WIDE) {
        status = add_wide(tape, &number, walk, node->of.wide);
    } else {
        pg_value value = {.op = node->op, .number = node->data, .b = PG_NO_VALUE};
        value.a = walk->value_of[node->of.child[0]] - 1;
        if (pg_op_slots[node->op] == 2) value.b = walk->value_of[node->of.child[1]] - 1;
        status = pg_tape_add(tape, &number, value);
    }
    if (status == PG_OK) walk->value_of[id] = number + 1;
    return status;
}

static bool can_be_replayed(const pg_node *node) {
    if (node->flags & PG_FLAG_OLD) return true;
    if (node->flags & PG_FLAG_CLOSURE) return false;
    return node->op != PG_OP_WIDE || node->of.wide->kind >= PG_WIDE_DETACH;
}

static pg_status record_from(pg_tape *tape, walker *walk, pg_node_id root) {
    if (walk->value_of[root] != no_node_yet) return PG_OK;
    pg_status status = push(walk, root);
    while (status == PG_OK && walk->depth > 0) {
        pg_node_id here = walk->stack[walk->depth - 1].id;
        const pg_node *node = &walk->graph->nodes[here];
        if (!can_be_replayed(node)) {
            walk->graph->fault = (pg_fault){.op = node->op};
            return PG_ERR_UNTRACEABLE;
        }
        pg_node_id child = is_end(node) ? 0 : next_child(walk);
        if (child != 0) {
            status = push(walk, child);
            continue;
        }
        walk->depth--;
        if (walk->value_of[here] == no_node_yet) status = add_node(tape, walk, here);
    }
    return status;
}

pg_status pg_tape_record(pg_graph *graph, pg_tape *tape, const pg_node_id *inputs,
                         size_t input_count, const pg_node_id *outputs, size_t output_count) {
    walker walk;
    pg_status status = walker_begin(&walk, graph);
    for (size_t i = 0; status == PG_OK && i < input_count; i++) {
        uint32_t number;
        status = pg_tape_add(tape, &number, (pg_value){.op = PG_OP_INPUT, .number = NAN});
        if (status == PG_OK) walk.value_of[inputs[i]] = number + 1;
    }
    tape->input_count = input_count;
    tape->outputs = pg_realloc(NULL, output_count, sizeof *tape->outputs);
    if (tape->outputs == NULL) status = PG_ERR_NOMEM;
    for (size_t i = 0; status == PG_OK && i < output_count; i++) {
        status = record_from(tape, &walk, outputs[i]);
        if (status == PG_OK) tape->outputs[i] = walk.value_of[outputs[i]] - 1;
    }
    if (status == PG_OK) tape->output_count = output_count;
    walker_end(&walk);
    PG_CHECK_GRAPH(graph);
    return status;
}
