/* formula.c - the op table's formulas, read for machine code.
 *
 * A row of ops.def is compiled by the C compiler wherever it is expanded; machine code that is made
 * while the program runs needs the same formula as data. So its text is parsed once more here, by
 * recursive descent, one function a level of precedence, into steps of a stack machine:
 *
 *   isnan(a * b) && b == 0.0 ? 0.0 : a * b      a b * isnan  b 0 == &&  0  a b *  select
 *
 * Invariant: each step is one operation of the formula, in C's order, so that bits agree. Both
 * branches of ?: are computed, which no result shows. A formula that calls anything else (libm, a
 * helper of kernels.h) is unknown, and is called as a compiled function (scalars.c).
 * Owns nothing. Cost: O(length of the text), well below a microsecond. */
#include "native/formula.h"

#include <stdlib.h>
#include <string.h>

const char *pg_formula_text(int op, pg_formula_name name) {
    static const char *const texts[PG_OP_PROGRAM][PG_FORMULA_NAMES] = {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, lo, hi, doc, daa_)                    \
    [PG_OP_##NAME] = {#y_, #da_, NULL, #daa_},
#define PG_NUMBER(NAME, python, symbol, y_, da_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc, daa_)   \
    [PG_OP_##NAME] = {#y_, #da_, NULL, #daa_},
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc,    \
                  daa_, dab_, dbb_)                                                                \
    [PG_OP_##NAME] = {#y_, #da_, #db_, #daa_, #dab_, #dbb_},
#include "ops/ops.def"
#define PG_LANEWISE(NAME, name, y_, fault, da_, da_fault, daa_, power)                             \
    [PG_OP_##NAME] = {#y_, #da_, NULL, #daa_},
#include "ops/instructions.def"
    };
    return texts[op][name];
}

typedef struct parser {
    const char *at;
    pg_formula *formula;
    bool fast, failed;
} parser;

static void read_choice(parser *p);

static void emit(parser *p, pg_step_kind kind) {
    pg_formula *f = p->formula;
    if (f->count == PG_MOST_STEPS) p->failed = true;
    if (p->failed) return;
    f->steps[f->count].kind = (uint8_t)kind;
    f->steps[f->count++].number = f->numbers;
}

static void emit_number(parser *p, double number) {
    emit(p, PG_PUSH_NUMBER);
    if (p->formula->numbers == PG_MOST_NUMBERS) p->failed = true;
    else p->formula->number[p->formula->numbers++] = number;
}

/* Skip spaces, and the token if it comes next. */
static bool accept(parser *p, const char *token) {
    while (*p->at == ' ') p->at++;
    const size_t length = strlen(token);
    if (strncmp(p->at, token, length) != 0) return false;
    p->at += length;
    return true;
}

static void expect(parser *p, const char *token) {
    if (!accept(p, token)) p->failed = true;
}

static bool is_letter(char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A name that nothing else goes on from. */
static bool accept_name(parser *p, const char *name) {
    const char *const before = p->at;
    if (accept(p, name) && !is_letter(*p->at) && !(*p->at >= '0' && *p->at <= '9')) return true;
    p->at = before;
    return false;
}

static void read_name(parser *p) {
    static const struct {
        const char *name;
        pg_step_kind kind;
    } operands[] = {{"a", PG_PUSH_A}, {"b", PG_PUSH_B}, {"y", PG_PUSH_Y}, {"d", PG_PUSH_SLOPE}},
      functions[] = {{"sqrt", PG_SQUARE_ROOT}, {"fabs", PG_MAGNITUDE}, {"isnan", PG_IS_NAN}};
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        if (accept_name(p, operands[i].name)) {
            emit(p, operands[i].kind);
            return;
        }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (accept_name(p, functions[i].name)) {
            expect(p, "(");
            read_choice(p);
            expect(p, ")");
            emit(p, functions[i].kind);
            return;
        }
    p->failed = true;
}

static void read_unary(parser *p) {
    if (p->failed) return;
    if (accept(p, "-")) {
        read_unary(p);
        emit(p, PG_NEGATES);
    } else if (accept(p, "(")) {
        read_choice(p);
        expect(p, ")");
    } else if (*p->at >= '0' && *p->at <= '9') {
        char *end;
        const double number = strtod(p->at, &end);
        p->at = end;
        emit_number(p, number);
    } else {
        read_name(p);
    }
}

static void read_product(parser *p) {
    read_unary(p);
    while (!p->failed) {
        const bool times = accept(p, "*");
        if (!times && !accept(p, "/")) return;
        read_unary(p);
        emit(p, times ? PG_MULTIPLIES : PG_DIVIDES);
    }
}

static void read_sum(parser *p) {
    read_product(p);
    while (!p->failed) {
        const bool plus = accept(p, "+");
        if (!plus && !accept(p, "-")) return;
        read_product(p);
        emit(p, plus ? PG_ADDS : PG_SUBTRACTS);
    }
}

/* x > y is read as y < x: operands have no effects, so their order is free. */
static void read_comparison(parser *p) {
    const int first = p->formula->count;
    read_sum(p);
    static const struct {
        const char *token;
        pg_step_kind kind;
        bool swapped;
    } comparisons[] = {{"==", PG_IS_EQUAL, false},
                       {"<=", PG_IS_LESS_EQUAL, false},
                       {">=", PG_IS_LESS_EQUAL, true},
                       {"<", PG_IS_LESS, false},
                       {">", PG_IS_LESS, true}};
    for (size_t i = 0; !p->failed && i < sizeof comparisons / sizeof *comparisons; i++) {
        if (!accept(p, comparisons[i].token)) continue;
        const int second = p->formula->count;
        read_sum(p);
        if (comparisons[i].swapped && !p->failed) {
            pg_formula other = *p->formula;
            const int left = second - first, right = other.count - second;
            memcpy(&p->formula->steps[first], &other.steps[second],
                   (size_t)right * sizeof *other.steps);
            memcpy(&p->formula->steps[first + right], &other.steps[first],
                   (size_t)left * sizeof *other.steps);
        }
        emit(p, comparisons[i].kind);
        return;
    }
}

static void read_and(parser *p) {
    read_comparison(p);
    while (!p->failed && accept(p, "&&")) {
        read_comparison(p);
        emit(p, PG_ANDS);
    }
}

static void read_or(parser *p) {
    read_and(p);
    while (!p->failed && accept(p, "||")) {
        read_and(p);
        emit(p, PG_ORS);
    }
}

/* The rest of `saturated(x) ? then : else` where nothing is saturated: else. */
static void read_unsaturated(parser *p) {
    int depth = 0;
    for (; *p->at != '\0' && (depth > 0 || *p->at != ':'); p->at++)
        depth += *p->at == '(' ? 1 : *p->at == ')' ? -1 : 0;
    expect(p, ":");
    read_choice(p);
}

static void read_choice(parser *p) {
    if (p->fast && accept_name(p, "saturated")) {
        read_unsaturated(p);
        return;
    }
    read_or(p);
    if (p->failed || !accept(p, "?")) return;
    read_choice(p);
    expect(p, ":");
    read_choice(p);
    emit(p, PG_SELECTS);
}

void pg_formula_read(pg_formula *formula_ret, const char *text, bool fast) {
    parser p = {text, formula_ret, fast, false};
    *formula_ret = (pg_formula){0};
    if (text == NULL) return;
    read_choice(&p);
    while (!p.failed && *p.at == ' ') p.at++;
    formula_ret->known = !p.failed && *p.at == '\0';
}
