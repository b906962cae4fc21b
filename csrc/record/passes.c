/* passes.c - tape to tape: what makes a recorded function cheaper without changing what it says.
 *
 *   fold    an op of constants is a constant; equal constants are one
 *   share   equal ops of equal operands are one (fast mode: gradients are then summed otherwise)
 *   powers  a**2 is a*a, a**-1 is 1/a (fast mode: pow rounds otherwise); they fail as powers do
 *   hoist   what depends on parameters only is computed once a replay, not once a row
 *   fuse    chains of multiply-add are one instruction
 *
 * Each pass may be left out, and each leaves a tape that says the same.
 * In exact mode no pass may change a bit of a row: values keep their operations and their order,
 * and each gradient stays the sum of the same numbers in the same order. Fusing is where that takes
 * care; see below. Over many rows hoisting does change last bits of the parameters' gradients: the
 * rows' gradients are summed before the uniform part multiplies them. Owns nothing but scratch.
 * Cost: O(values), but for fuse, where that is times outputs. Aho, Lam, Sethi and Ullman,
 * Compilers, 2nd ed., 8.5 (value numbering) and 9.1. */
#include "record/tape.h"

#include <string.h>

/* ---- fold and share -------------------------------------------------------------------------- */

static bool same(const pg_tape *tape, const pg_value *x, const pg_value *y) {
    if (x->op != y->op) return false;
    if (x->op == PG_OP_CONST) return memcmp(&x->number, &y->number, sizeof x->number) == 0;
    if (x->a != y->a || x->b != y->b || x->compare != y->compare || x->count != y->count)
        return false;
    for (uint32_t i = 0; i < x->count; i++) {
        const pg_pair *p = &tape->pairs[x->first + i], *q = &tape->pairs[y->first + i];
        if (p->left != q->left || p->right != q->right) return false;
    }
    return true;
}

/* The high half of a product, after Knuth, TAOCP 3, 6.4; small integers differ as doubles in their
 * high bits only, which are brought down first. */
static size_t hash(const pg_value *value) {
    uint64_t bits = 0;
    if (value->op == PG_OP_CONST) memcpy(&bits, &value->number, sizeof bits);
    else bits = (uint64_t)value->a << 32 | value->b;
    bits = (bits ^ bits >> 32 ^ value->op) * 0x9e3779b97f4a7c15u;
    return (size_t)(bits >> 32);
}

/* Of equal values keep the first, and let the rest be redirected to it. */
static pg_status merge(pg_tape *tape, bool (*mergeable)(const pg_value *value)) {
    size_t size = 64;
    while (size < 2 * tape->count) size *= 2;
    uint32_t *table = pg_realloc(NULL, size, sizeof *table);
    uint32_t *becomes = pg_realloc(NULL, tape->count, sizeof *becomes);
    if (table == NULL || becomes == NULL) {
        pg_free(table);
        pg_free(becomes);
        return PG_ERR_NOMEM;
    }
    memset(table, 0xff, size * sizeof *table); /* PG_NO_VALUE */
    for (uint32_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        uint32_t *operand;
        for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++)
            if (*operand != PG_NO_VALUE) *operand = becomes[*operand];
        becomes[i] = i;
        if (!mergeable(value)) continue;
        size_t at = hash(value) & (size - 1);
        while (table[at] != PG_NO_VALUE && !same(tape, value, &tape->values[table[at]]))
            at = (at + 1) & (size - 1);
        if (table[at] == PG_NO_VALUE) table[at] = i;
        becomes[i] = table[at];
    }
    for (size_t i = 0; i < tape->output_count; i++) tape->outputs[i] = becomes[tape->outputs[i]];
    pg_free(table);
    pg_free(becomes);
    return PG_OK;
}

static bool is_constant(const pg_value *value) { return value->op == PG_OP_CONST; }

static bool is_constant_or_op(const pg_value *value) {
    return is_constant(value) || pg_is_op(value);
}

static bool has_constant_operands(const pg_tape *tape, const pg_value *value) {
    uint32_t *operand;
    for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++)
        if (*operand != PG_NO_VALUE && !is_constant(&tape->values[*operand])) return false;
    return true;
}

/* A select has no number yet: the trace only took note of it. */
static double number_of(const pg_tape *tape, const pg_value *value) {
    if (value->op == PG_OP_DETACH || value->op == PG_OP_CUSTOM)
        return tape->values[value->a].number;
    return value->number;
}

pg_status pg_pass_fold(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        if (!pg_is_op(value) || value->op == PG_OP_SELECT || value->op == PG_OP_COPY) continue;
        if (!has_constant_operands(tape, value)) continue;
        *value = (pg_value){.op = PG_OP_CONST,
                            .number = number_of(tape, value),
                            .a = PG_NO_VALUE,
                            .b = PG_NO_VALUE};
    }
    return merge(tape, is_constant);
}

pg_status pg_pass_share(pg_tape *tape) { return merge(tape, is_constant_or_op); }

/* ---- powers ---------------------------------------------------------------------------------- */

pg_status pg_pass_powers(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        if (value->op != PG_OP_POWN || !is_constant(&tape->values[value->b])) continue;
        double exponent = tape->values[value->b].number;
        if (exponent != 2.0 && exponent != -1.0) continue;
        value->op = exponent == 2.0 ? PG_OP_SQUARE : PG_OP_RECIP;
        value->b = PG_NO_VALUE;
    }
    return PG_OK;
}

/* ---- hoist ----------------------------------------------------------------------------------- */

pg_status pg_pass_hoist(pg_tape *tape) {
    for (size_t i = 0; i < tape->count; i++) {
        pg_value *value = &tape->values[i];
        if (!pg_is_op(value) || value->op == PG_OP_COPY) continue;
        uint32_t *operand;
        value->uniform = 1;
        for (size_t k = 0; pg_operand_of(tape, value, k, &operand); k++)
            if (*operand != PG_NO_VALUE && !tape->values[*operand].uniform) value->uniform = 0;
    }
    return PG_OK;
}

/* ---- fuse ------------------------------------------------------------------------------------ */

/* A chain is ((a + l0*r0) + l1*r1) + ..., whose inner sums and products nobody else uses. Fused, it
 * is one instruction that adds in the same order. What could change is the order of gradients:
 * unfused, a product passes its gradient on when backward() comes to it; fused, all products do at
 * the chain's last sum, that is, earlier. Each value that a gradient goes to must still get its
 * gradients in the old order, for each output; a chain for which that isn't so stays unfused. Since
 * that puts its gradients back to their old times, which others may have relied on, all is checked
 * again until nothing has to be unfused. */
typedef struct fuser {
    pg_tape *tape;
    uint32_t *uses;   /* how often each value is an operand or an output */
    uint32_t *root;   /* of the chain that a value is swallowed by; else itself */
    uint32_t *time;   /* where a value stands in the order under consideration */
    uint32_t *latest; /* for each value the time from which it last got a gradient */
} fuser;

static void count_uses(fuser *f) {
    memset(f->uses, 0, f->tape->count * sizeof *f->uses);
    for (size_t i = 0; i < f->tape->count; i++) {
        const pg_value *value = &f->tape->values[i];
        uint32_t *operand;
        if (value->dead) continue;
        for (size_t k = 0; pg_operand_of(f->tape, value, k, &operand); k++)
            if (*operand != PG_NO_VALUE) f->uses[*operand]++;
    }
    for (size_t i = 0; i < f->tape->output_count; i++) f->uses[f->tape->outputs[i]]++;
}

static bool is_product(const pg_value *value) {
    return value->op == PG_OP_MUL || value->op == PG_OP_SQUARE;
}

/* May the chain that ends in `root` swallow this value? */
static bool can_swallow(const fuser *f, uint32_t root, uint32_t value) {
    return f->uses[value] == 1 && f->tape->values[value].uniform == f->tape->values[root].uniform;
}

static bool can_swallow_product(const fuser *f, uint32_t root, uint32_t value) {
    return value != PG_NO_VALUE && is_product(&f->tape->values[value]) &&
           can_swallow(f, root, value);
}

/* One link of a chain, from its end: the product it adds, and what it adds that to. */
typedef struct link {
    uint32_t product, rest;
} link;

static bool is_link(const fuser *f, uint32_t root, uint32_t sum, link *link_ret) {
    const pg_value *value = &f->tape->values[sum];
    if (value->op != PG_OP_ADD || (sum != root && !can_swallow(f, root, sum))) return false;
    if (can_swallow_product(f, root, value->b)) *link_ret = (link){value->b, value->a};
    else if (can_swallow_product(f, root, value->a)) *link_ret = (link){value->a, value->b};
    else return false;
    return true;
}

/* Let `root` swallow its chain, or give it back. */
static void set_chain(fuser *f, uint32_t root, bool swallow) {
    link link;
    uint32_t sum = root;
    bool at_base = false; /* product + rest: the rest is what the chain begins with */
    while (!at_base && is_link(f, root, sum, &link)) {
        at_base = link.product == f->tape->values[sum].a;
        f->root[sum] = swallow ? root : sum;
        f->root[link.product] = swallow ? root : link.product;
        sum = link.rest;
    }
    if (!at_base && sum != root && can_swallow_product(f, root, sum))
        f->root[sum] = swallow ? root : sum;
}

/* Does an operand's gradient come too early, after fusing? */
static bool comes_early(fuser *f, uint32_t operand, uint32_t time) {
    if (operand == PG_NO_VALUE || is_constant(&f->tape->values[operand])) return false;
    if (time > f->latest[operand]) return true;
    f->latest[operand] = time;
    return false;
}

/* Does a gradient that this value passes on, at this time, come too early to an operand? */
static bool passes_early(fuser *f, const pg_value *value, uint32_t root, uint32_t time) {
    uint32_t operand;
    bool early = false;
    for (size_t k = 0; pg_gradient_operand_of(f->tape, value, k, &operand) && !early; k++) {
        const bool inside = operand != PG_NO_VALUE && operand != root && f->root[operand] == root;
        early = !inside && comes_early(f, operand, time);
    }
    return early;
}

/* Walk one output's order backwards. True if chains had to be unfused. */
static bool unfuse(fuser *f, size_t output) {
    const uint32_t *order = f->tape->orders[output];
    const size_t count = f->tape->order_counts[output];
    bool changed = false;
    for (size_t i = 0; i < count; i++) f->time[order[i]] = (uint32_t)i;
    memset(f->latest, 0xff, f->tape->count * sizeof *f->latest);
    for (size_t i = count; i-- > 0;) {
        uint32_t root = f->root[order[i]];
        if (!passes_early(f, &f->tape->values[order[i]], root, f->time[root])) continue;
        set_chain(f, root, false);
        changed = true;
    }
    return changed;
}

/* A pair for a product that `root` swallows. */
static pg_status write_product(pg_tape *tape, uint32_t root, uint32_t number) {
    pg_value *const product = &tape->values[number];
    const bool squared = product->op == PG_OP_SQUARE;
    if (squared) tape->values[root].compare = PG_DOT_SQUARES;
    product->dead = 1;
    return pg_tape_add_pair(tape, product->a, squared ? product->a : product->b);
}

/* Turn the chain that ends in `root` into one value. Pairs are found from the last to the first. */
static pg_status write_chain(fuser *f, uint32_t root) {
    pg_tape *tape = f->tape;
    const size_t first = tape->pair_count;
    uint32_t sum = root;
    pg_status status = PG_OK;
    while (sum != PG_NO_VALUE && f->root[sum] == root && tape->values[sum].op == PG_OP_ADD) {
        const pg_value *value = &tape->values[sum];
        const pg_value *right = &tape->values[value->b];
        bool on_right = f->root[value->b] == root && is_product(right) && value->b != root;
        status = write_product(tape, root, on_right ? value->b : value->a);
        if (status != PG_OK) return status;
        if (sum != root) tape->values[sum].dead = 1;
        sum = on_right ? value->a : value->b;
        if (!on_right) break;
    }
    if (sum != PG_NO_VALUE && f->root[sum] == root && is_product(&tape->values[sum]) &&
        !tape->values[sum].dead) {
        status = write_product(tape, root, sum);
        if (status != PG_OK) return status;
        sum = PG_NO_VALUE;
    }
    for (size_t i = first, j = tape->pair_count; i + 1 < j; i++) {
        pg_pair swap = tape->pairs[i];
        tape->pairs[i] = tape->pairs[--j];
        tape->pairs[j] = swap;
    }
    pg_value *dot = &tape->values[root];
    dot->op = PG_OP_DOT;
    dot->a = sum;
    dot->b = PG_NO_VALUE;
    dot->first = (uint32_t)first;
    dot->count = (uint32_t)(tape->pair_count - first);
    return PG_OK;
}

static pg_status fuse_chains(fuser *f) {
    pg_tape *tape = f->tape;
    count_uses(f);
    for (uint32_t i = 0; i < tape->count; i++) f->root[i] = i;
    for (uint32_t i = (uint32_t)tape->count; i-- > 0;)
        if (tape->values[i].op == PG_OP_ADD && !tape->values[i].dead && f->root[i] == i)
            set_chain(f, i, true);
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t output = 0; output < tape->output_count; output++)
            if (unfuse(f, output)) changed = true;
    }
    for (uint32_t i = (uint32_t)tape->count; i-- > 0;) {
        const pg_value *value = &tape->values[i];
        if (value->op != PG_OP_ADD || value->dead || f->root[i] != i) continue;
        link link;
        if (!is_link(f, i, i, &link) || f->root[link.product] != i) continue;
        pg_status status = write_chain(f, i);
        if (status != PG_OK) return status;
    }
    return PG_OK;
}

pg_status pg_pass_fuse(pg_tape *tape) {
    uint32_t *scratch = pg_realloc(NULL, 4 * tape->count, sizeof *scratch);
    if (scratch == NULL) return PG_ERR_NOMEM;
    fuser f = {tape, scratch, scratch + tape->count, scratch + 2 * tape->count,
               scratch + 3 * tape->count};
    pg_status status = fuse_chains(&f);
    pg_free(scratch);
    return status;
}
