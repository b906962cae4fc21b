/* fuse.c - chains of multiply-adds become one `dot` instruction each.
 *
 * A chain is ((a + l0*r0) + l1*r1) + ..., where each inner sum and product has no other use. Its
 * last sum is the root; fused, the root evaluates the same operations in the same order:
 *
 *   p0 = l0 * r0
 *   s0 = a  + p0                 (p0, s0 and p1 are dead)
 *   p1 = l1 * r1          =>
 *   s1 = s0 + p1                 s1 = dot: a + l0*r0 + l1*r1
 *
 * Products are those of `*`, or all of them gates. A chain ends before a product without a weight,
 * if some with weights follow it (ends_before).
 * What fusing can change is the order in which gradients are summed. Unfused, a product passes its
 * gradient on when backward() reaches it; fused, all products do at the root, that is, earlier.
 * With r1 = exp(l0), the contributions to l0's gradient would change places:
 *
 *   unfused   s1, p1, r1 (adds to l0), s0, p0 (adds to l0)
 *   fused     s1 (adds to l0), r1 (adds to l0)                  this chain stays unfused
 *
 * Invariant: for each output, every gradient receives its contributions in the unfused order.
 *   1. From the last value to the first, each sum that is in no chain yet becomes a root and
 *      absorbs its chain (set_chain).
 *   2. For each output, traverse its order backwards, with each absorbed value at its root's time.
 *      Where a contribution would overtake an earlier one to the same gradient, unfuse its chain
 *      (unfuse).
 *   3. Unfusing moves contributions back to their old, later times, which may invalidate chains
 *      that passed: repeat 2 until no chain is unfused.
 *   4. Write each remaining chain as one value (write_chain).
 * Owns nothing but scratch. Cost: O((values + pairs) * outputs) for each round of 2; every round
 * but the last unfuses a chain. */
#include "record/tape.h"

#include <string.h>

typedef struct fuser {
    pg_tape *tape;
    uint32_t *uses;   /* how often each value is used as an operand or an output */
    uint32_t *root;   /* of the chain that absorbed a value; else the value itself */
    uint32_t *time;   /* a value's position in the order being checked */
    uint32_t *latest; /* for each value: the time of the last contribution to its gradient */
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

/* What a chain may consist of: products, or gates. */
typedef enum kind { NO_PRODUCT, PRODUCT, GATE } kind;

enum { worth_a_dot = 4 }; /* so many products with weights are a dot of their own */

static kind kind_of(const pg_value *value) {
    if (value->op == PG_OP_MUL || value->op == PG_OP_SQUARE) return PRODUCT;
    return value->op == PG_OP_GATE ? GATE : NO_PRODUCT;
}

static bool is_product(const pg_value *value) { return kind_of(value) != NO_PRODUCT; }

/* May the chain that ends in `root` absorb this value? */
static bool can_absorb(const fuser *f, uint32_t root, uint32_t value) {
    return f->uses[value] == 1 && f->tape->values[value].uniform == f->tape->values[root].uniform;
}

/* wanted: the chain's kind; NO_PRODUCT: it has none yet. */
static bool can_absorb_product(const fuser *f, uint32_t root, uint32_t value, kind wanted) {
    if (value == PG_NO_VALUE || !can_absorb(f, root, value)) return false;
    const kind found = kind_of(&f->tape->values[value]);
    return found != NO_PRODUCT && (wanted == NO_PRODUCT || found == wanted);
}

/* One link of a chain, seen from its end: the product that a sum adds, and its other operand. */
typedef struct link {
    uint32_t product, rest;
} link;

static bool is_link(const fuser *f, uint32_t root, uint32_t sum, kind wanted, link *link_ret) {
    const pg_value *value = &f->tape->values[sum];
    if (value->op != PG_OP_ADD || (sum != root && !can_absorb(f, root, sum))) return false;
    if (can_absorb_product(f, root, value->b, wanted)) *link_ret = (link){value->b, value->a};
    else if (can_absorb_product(f, root, value->a, wanted)) *link_ret = (link){value->a, value->b};
    else return false;
    return true;
}

/* Has this product a weight: one factor, of a gate the slope, that is the same for all rows? */
static bool has_weight(const fuser *f, uint32_t product) {
    const pg_value *const values = f->tape->values, *const value = &values[product];
    if (value->uniform || value->op == PG_OP_SQUARE) return false;
    const bool left = values[value->a].uniform, right = values[value->b].uniform;
    return value->op == PG_OP_GATE ? left && !right : left != right;
}

/* Does a chain that has absorbed so many products, all with weights, end before this one? Only a
 * dot whose products all have weights reads them as numbers; another one imports them, as lanes. */
static bool ends_before(const fuser *f, uint32_t weights, uint32_t product) {
    return weights >= worth_a_dot && !has_weight(f, product);
}

/* Does a chain that would end in this sum end before it? Its product has no weight, and so many
 * before that one have. */
static bool ends_earlier(const fuser *f, uint32_t root) {
    link link;
    if (!is_link(f, root, root, NO_PRODUCT, &link) || has_weight(f, link.product)) return false;
    const kind kind = kind_of(&f->tape->values[link.product]);
    for (uint32_t i = 1; i < worth_a_dot; i++)
        if (!is_link(f, root, link.rest, kind, &link) || !has_weight(f, link.product)) return false;
    return is_link(f, root, link.rest, kind, &link)
               ? has_weight(f, link.product)
               : can_absorb_product(f, root, link.rest, kind) && has_weight(f, link.rest);
}

/* Absorb the chain that ends in `root`, or release it. */
static void set_chain(fuser *f, uint32_t root, bool absorb) {
    link link;
    uint32_t sum = root, weights = 0;
    kind kind = NO_PRODUCT;
    bool weighted = true, at_base = false; /* product + rest: the chain starts from the rest */
    while (!at_base && is_link(f, root, sum, kind, &link)) {
        if (ends_before(f, weights, link.product)) return;
        weighted = weighted && has_weight(f, link.product);
        weights = weighted ? weights + 1 : 0;
        kind = kind_of(&f->tape->values[link.product]);
        at_base = link.product == f->tape->values[sum].a;
        f->root[sum] = absorb ? root : sum;
        f->root[link.product] = absorb ? root : link.product;
        sum = link.rest;
    }
    if (!at_base && sum != root && can_absorb_product(f, root, sum, kind) &&
        !ends_before(f, weights, sum))
        f->root[sum] = absorb ? root : sum;
}

/* Would this contribution reach the operand before an earlier one does? Times only decrease in a
 * backward traversal of unfused code. */
static bool comes_early(fuser *f, uint32_t operand, uint32_t time) {
    if (operand == PG_NO_VALUE || pg_is_constant(&f->tape->values[operand])) return false;
    if (time > f->latest[operand]) return true;
    f->latest[operand] = time;
    return false;
}

/* Does this value, passing its gradient on at this time, reach an operand outside its chain too
 * early? */
static bool passes_early(fuser *f, const pg_value *value, uint32_t root, uint32_t time) {
    uint32_t operand;
    bool early = false;
    for (size_t k = 0; pg_gradient_operand_of(f->tape, value, k, &operand) && !early; k++) {
        const bool inside = operand != PG_NO_VALUE && operand != root && f->root[operand] == root;
        early = !inside && comes_early(f, operand, time);
    }
    return early;
}

/* Traverse one output's order backwards. Returns true if chains had to be unfused. */
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

/* Append the pair of a product that `root` absorbs. */
static pg_status write_product(pg_tape *tape, uint32_t root, uint32_t number) {
    pg_value *const product = &tape->values[number];
    const bool squared = product->op == PG_OP_SQUARE;
    if (squared) tape->values[root].compare = PG_DOT_SQUARES;
    if (kind_of(product) == GATE) tape->values[root].compare = PG_DOT_GATED;
    product->dead = 1;
    return pg_tape_add_pair(tape, product->a, squared ? product->a : product->b);
}

/* Turn the chain that ends in `root` into one value. Pairs are found from the last to the first,
 * and reversed in the end. root[root] is root itself, so `value->b != root` excludes the root from
 * the absorbed products; it is a safeguard only, since operands stand before their users. */
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
        if (tape->values[i].op == PG_OP_ADD && !tape->values[i].dead && f->root[i] == i &&
            !ends_earlier(f, i))
            set_chain(f, i, true);
    bool changed = !tape->reorders;
    while (changed) {
        changed = false;
        for (size_t output = 0; output < tape->output_count; output++)
            if (unfuse(f, output)) changed = true;
    }
    for (uint32_t i = (uint32_t)tape->count; i-- > 0;) {
        const pg_value *value = &tape->values[i];
        if (value->op != PG_OP_ADD || value->dead || f->root[i] != i) continue;
        link link;
        if (!is_link(f, i, i, NO_PRODUCT, &link) || f->root[link.product] != i) continue;
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
