/* tape.c - the tape as a container, and the orders of its outputs.
 *
 * The order of an output is the postorder in which backward() would traverse its graph: depth
 * first, children from left to right, along the edges that carry gradients. Each output has its
 * own, since a node that two outputs share may come earlier for one than for the other.
 * A tape owns its arrays; pg_tape_free frees them. Cost: O(values reached) an output. */
#include "record/tape.h"

#include <string.h>

void pg_tape_free(pg_tape *tape) {
    for (size_t i = 0; tape->orders != NULL && i < tape->output_count; i++)
        pg_free(tape->orders[i]);
    pg_free(tape->orders);
    pg_free(tape->order_counts);
    pg_free(tape->values);
    pg_free(tape->pairs);
    pg_free(tape->params);
    pg_free(tape->outputs);
    pg_free(tape->schedule);
    *tape = (pg_tape){0};
}

pg_status pg_tape_add(pg_tape *tape, uint32_t *value_ret, pg_value value) {
    if (tape->count >= PG_NO_VALUE - 1) return PG_ERR_LIMIT;
    if (pg_grow((void **)&tape->values, &tape->capacity, tape->count, sizeof *tape->values) < 0)
        return PG_ERR_NOMEM;
    *value_ret = (uint32_t)tape->count;
    tape->values[tape->count++] = value;
    return PG_OK;
}

pg_status pg_tape_add_pair(pg_tape *tape, uint32_t left, uint32_t right) {
    if (tape->pair_count >= PG_NO_VALUE - 1) return PG_ERR_LIMIT;
    if (pg_grow((void **)&tape->pairs, &tape->pair_capacity, tape->pair_count,
                sizeof *tape->pairs) < 0)
        return PG_ERR_NOMEM;
    tape->pairs[tape->pair_count++] = (pg_pair){left, right};
    return PG_OK;
}

bool pg_is_weighted(const pg_tape *tape, const pg_value *value) {
    const bool is_dot = value->op == PG_OP_DOT;
    if (value->uniform || (!is_dot && !pg_is_lookup(value->op))) return false;
    for (uint32_t i = 0; i < value->count; i++) {
        const pg_pair pair = tape->pairs[value->first + i];
        const bool left = tape->values[pair.left].uniform, right = tape->values[pair.right].uniform;
        const bool may_swap = is_dot && value->compare != PG_DOT_GATED;
        if (may_swap ? left == right : !left || (is_dot && right)) return false;
    }
    return true;
}

/* A scatter computes all of its parts, also those without a use. */
static void keep_parts(pg_value *scatter) {
    for (size_t k = 1; k <= (size_t)scatter->number; k++) scatter[k].dead = 0;
}

void pg_tape_mark_dead(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++)
        tape->values[i].dead = pg_is_op(&tape->values[i]) || tape->values[i].op == PG_OP_CONST;
    for (size_t i = 0; i < tape->output_count; i++) tape->values[tape->outputs[i]].dead = 0;
    for (size_t i = tape->count; i-- > 0;) {
        if (tape->values[i].dead) continue;
        uint32_t *operand;
        for (size_t k = 0; pg_operand_of(tape, &tape->values[i], k, &operand); k++)
            if (*operand != PG_NO_VALUE) tape->values[*operand].dead = 0;
        if (tape->values[i].op == PG_OP_SCATTER) keep_parts(&tape->values[i]);
    }
}

/* ---- Orders ---------------------------------------------------------------------------------- */

typedef struct order_walk {
    uint32_t *stack; /* the path from the root to here */
    uint8_t *seen;
    uint32_t *next; /* for each value: the index of its next operand */
    uint32_t *order;
    size_t count;
} order_walk;

/* The next unvisited operand of this value that receives a gradient and is an op itself. */
static uint32_t next_operand(const pg_tape *tape, order_walk *walk, uint32_t here) {
    uint32_t operand;
    while (pg_gradient_operand_of(tape, &tape->values[here], walk->next[here], &operand)) {
        walk->next[here]++;
        if (operand != PG_NO_VALUE && !walk->seen[operand] && pg_is_op(&tape->values[operand]))
            return operand;
    }
    return PG_NO_VALUE;
}

static void walk_from(const pg_tape *tape, order_walk *walk, uint32_t root) {
    size_t depth = 0;
    walk->stack[depth++] = root;
    walk->seen[root] = 1;
    while (depth > 0) {
        uint32_t here = walk->stack[depth - 1];
        uint32_t operand = next_operand(tape, walk, here);
        if (operand != PG_NO_VALUE) {
            walk->seen[operand] = 1;
            walk->stack[depth++] = operand;
            continue;
        }
        walk->order[walk->count++] = here;
        depth--;
    }
    for (size_t i = 0; i < walk->count; i++) { /* reset for the next output */
        walk->seen[walk->order[i]] = 0;
        walk->next[walk->order[i]] = 0;
    }
}

static pg_status find_order(pg_tape *tape, order_walk *walk, size_t output) {
    walk->count = 0;
    uint32_t root = tape->outputs[output];
    if (pg_is_op(&tape->values[root])) walk_from(tape, walk, root);
    uint32_t *copy = pg_realloc(NULL, walk->count, sizeof *copy);
    if (copy == NULL) return PG_ERR_NOMEM;
    if (walk->count > 0) memcpy(copy, walk->order, walk->count * sizeof *copy);
    tape->orders[output] = copy;
    tape->order_counts[output] = walk->count;
    return PG_OK;
}

pg_status pg_tape_find_orders(pg_tape *tape) {
    order_walk walk = {.stack = pg_realloc(NULL, tape->count, sizeof *walk.stack),
                       .seen = pg_zeroed(tape->count, 1),
                       .next = pg_zeroed(tape->count, sizeof *walk.next),
                       .order = pg_realloc(NULL, tape->count, sizeof *walk.order)};
    tape->orders = pg_zeroed(tape->output_count, sizeof *tape->orders);
    tape->order_counts = pg_realloc(NULL, tape->output_count, sizeof *tape->order_counts);
    pg_status status = PG_ERR_NOMEM;
    if (walk.stack && walk.seen && walk.next && walk.order && tape->orders && tape->order_counts) {
        status = PG_OK;
        for (size_t i = 0; status == PG_OK && i < tape->output_count; i++)
            status = find_order(tape, &walk, i);
    }
    pg_free(walk.stack);
    pg_free(walk.seen);
    pg_free(walk.next);
    pg_free(walk.order);
    return status;
}
