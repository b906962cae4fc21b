/* record.c - graph to tape: what a traced function's outputs were computed from.
 *
 * Inputs and parameters are marked by graph/trace.c. A node that can't be replayed (a closure,
 * derivatives given by number) aborts the recording. The traversal is depth first, children from
 * left to right, so the tape is in the order of backward().
 * Owns nothing but its scratch. Cost: O(nodes reached). */
#include "graph/verify.h"
#include "graph/walk.h"
#include "record/tape.h"

#include <math.h>

enum { no_node_yet = 0 };

typedef struct walker {
    pg_graph *graph;
    uint32_t *value_of; /* for each slot of the arena: its value + 1; 0: not visited yet */
    pg_path path;
} walker;

/* The next unvisited child of the frame on top, or 0. */
static pg_node_id next_child(walker *walk) {
    pg_node_id child;
    while ((child = pg_next_child(&walk->path, walk->graph)) != 0)
        if (walk->value_of[child] == no_node_yet) return child;
    return 0;
}

/* ---- Nodes to values ------------------------------------------------------------------------- */

static pg_status add_param(pg_tape *tape, uint32_t *value_ret, pg_node_id id, double data) {
    if (pg_grow((void **)&tape->params, &tape->param_capacity, tape->param_count,
                sizeof *tape->params) < 0)
        return PG_ERR_NOMEM;
    tape->params[tape->param_count++] = id;
    return pg_tape_add(tape, value_ret, (pg_value){.op = PG_OP_PARAM, .number = data});
}

/* A custom op: its value, and one derivative by each operand. */
static pg_status add_rule(pg_tape *tape, uint32_t *value_ret, const walker *walk,
                          const pg_variadic *variadic) {
    const uint32_t count = (uint32_t)(variadic->count / 2);
    pg_value value = {.op = PG_OP_CUSTOM, .number = NAN, .b = PG_NO_VALUE, .count = count};
    value.a = walk->value_of[variadic->ids[count]] - 1;
    value.first = (uint32_t)tape->pair_count;
    for (uint32_t i = 0; i < count; i++) {
        pg_status status = pg_tape_add_pair(tape, walk->value_of[variadic->ids[i]] - 1,
                                            walk->value_of[variadic->ids[count + 1 + i]] - 1);
        if (status != PG_OK) return status;
    }
    return pg_tape_add(tape, value_ret, value);
}

/* table[index], or a search of x: pairs of an entry or a knot, and the index or x again. */
static pg_status add_lookup(pg_tape *tape, uint32_t *value_ret, const walker *walk,
                            const pg_variadic *variadic) {
    const bool takes = variadic->kind == PG_VARIADIC_TAKE;
    const uint32_t count = (uint32_t)variadic->count - 1;
    pg_value value = {.op = takes ? PG_OP_TAKE : PG_OP_SEARCH,
                      .number = NAN,
                      .b = PG_NO_VALUE,
                      .count = count,
                      .first = (uint32_t)tape->pair_count};
    if (variadic->kind == PG_VARIADIC_SEARCH_RIGHT) value.compare = PG_SEARCH_RIGHT;
    value.a = walk->value_of[variadic->ids[takes ? count : 0]] - 1;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t entry = walk->value_of[variadic->ids[takes ? i : i + 1]] - 1;
        pg_status status = pg_tape_add_pair(tape, entry, value.a);
        if (status != PG_OK) return status;
    }
    return pg_tape_add(tape, value_ret, value);
}

/* Pairs of a gradient and its index; all parts follow at once, whether they are used or not. */
static pg_status add_scatter(pg_tape *tape, uint32_t *value_ret, const walker *walk,
                             const pg_variadic *scatter) {
    const uint32_t count = (uint32_t)(scatter->count / 2);
    const pg_value value = {.op = PG_OP_SCATTER,
                            .number = scatter->number,
                            .a = PG_NO_VALUE,
                            .b = PG_NO_VALUE,
                            .count = count,
                            .first = (uint32_t)tape->pair_count};
    pg_status status = PG_OK;
    for (uint32_t i = 0; status == PG_OK && i < count; i++)
        status = pg_tape_add_pair(tape, walk->value_of[scatter->ids[i]] - 1,
                                  walk->value_of[scatter->ids[count + i]] - 1);
    if (status == PG_OK) status = pg_tape_add(tape, value_ret, value);
    for (uint32_t i = 0; status == PG_OK && i < scatter->number; i++) {
        uint32_t part;
        status = pg_tape_add(
            tape, &part,
            (pg_value){.op = PG_OP_PART, .number = i, .a = *value_ret, .b = PG_NO_VALUE});
    }
    return status;
}

static pg_status add_variadic(pg_tape *tape, uint32_t *value_ret, const walker *walk,
                              const pg_variadic *variadic) {
    if (variadic->kind == PG_VARIADIC_RULE) return add_rule(tape, value_ret, walk, variadic);
    if (variadic->kind >= PG_VARIADIC_TAKE && variadic->kind <= PG_VARIADIC_SEARCH_RIGHT)
        return add_lookup(tape, value_ret, walk, variadic);
    if (variadic->kind == PG_VARIADIC_SCATTER) return add_scatter(tape, value_ret, walk, variadic);
    if (variadic->kind == PG_VARIADIC_PART) {
        *value_ret = walk->value_of[variadic->ids[0]] + variadic->number;
        return PG_OK;
    }
    pg_value value = {.number = NAN, .a = walk->value_of[variadic->ids[0]] - 1, .b = PG_NO_VALUE};
    if (variadic->kind == PG_VARIADIC_DETACH) {
        value.op = PG_OP_DETACH;
        return pg_tape_add(tape, value_ret, value);
    }
    value.op = PG_OP_SELECT;
    value.compare = (uint8_t)(variadic->kind - PG_VARIADIC_SELECT);
    value.b = walk->value_of[variadic->ids[1]] - 1;
    value.first = (uint32_t)tape->pair_count;
    value.count = 1;
    pg_status status = pg_tape_add_pair(tape, walk->value_of[variadic->ids[2]] - 1,
                                        walk->value_of[variadic->ids[3]] - 1);
    return status == PG_OK ? pg_tape_add(tape, value_ret, value) : status;
}

/* Append the value of a node; those of its children are on the tape. */
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
    } else if (node->op == PG_OP_VARIADIC) {
        status = add_variadic(tape, &number, walk, node->of.variadic);
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
    return node->op != PG_OP_VARIADIC || node->of.variadic->kind >= PG_VARIADIC_DETACH;
}

static pg_status record_from(pg_tape *tape, walker *walk, pg_node_id root) {
    if (walk->value_of[root] != no_node_yet) return PG_OK;
    pg_status status = pg_descend(&walk->path, root);
    while (status == PG_OK && walk->path.depth > 0) {
        pg_node_id here = pg_top(&walk->path);
        const pg_node *node = &walk->graph->nodes[here];
        if (!can_be_replayed(node)) {
            walk->graph->fault = (pg_fault){.op = node->op};
            return PG_ERR_UNTRACEABLE;
        }
        pg_node_id child = pg_is_trace_end(node) ? 0 : next_child(walk);
        if (child != 0) {
            status = pg_descend(&walk->path, child);
            continue;
        }
        pg_ascend(&walk->path);
        if (walk->value_of[here] == no_node_yet) status = add_node(tape, walk, here);
    }
    return status;
}

pg_status pg_tape_record(pg_graph *graph, pg_tape *tape, const pg_recording *recording) {
    const size_t input_count = recording->input_count, output_count = recording->output_count;
    const pg_node_id *const inputs = recording->inputs, *const outputs = recording->outputs;
    walker walk = {.graph = graph, .value_of = pg_zeroed(graph->used, sizeof *walk.value_of)};
    pg_status status = walk.value_of != NULL ? PG_OK : PG_ERR_NOMEM;
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
    pg_free(walk.value_of);
    pg_free(walk.path.frames);
    PG_CHECK_GRAPH(graph);
    return status;
}
