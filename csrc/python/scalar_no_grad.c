/* scalar_no_grad.c - values without a graph.
 *
 * One array holds the open blocks of all threads, in the order in which they were entered: each
 * entry has its thread and the object to leave it by. The innermost block of a thread, the last of
 * its entries, decides whether the thread is in no_grad(). A block may be left by another thread,
 * as when it lies in a generator that this one closes; the entry removed is then that of the thread
 * that entered it. A trace is a block, too, one with a graph, even if the recording is started in
 * no_grad().
 * While no thread has a block, operators only compare the number of blocks, in scalar_global, with
 * 0. In no_grad() an op builds its node as usual, then drops its children. During a trace its
 * result is detached instead: the program must still compute it.
 * Blocks are entered and left in C, so that Ctrl-C can't come between a block and its state.
 * Owns the array, which is kept. Cost: outside of blocks one comparison an op; inside, a search
 * back from the last block to one of this thread. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

typedef struct block {
    const void *what; /* a no_grad object or a traced function; borrowed, only compared */
    uint64_t thread;
    int with_graph;
} block;

static struct {
    block *at;
    size_t capacity; /* scalar_global.blocks are in use */
} blocks;

/* Threads are numbered here, since the system reuses its thread ids. */
static PG_THREAD_LOCAL uint64_t number_of_this = 0;
static uint64_t thread_count = 0;

static uint64_t this_thread(void) {
    if (number_of_this == 0) number_of_this = ++thread_count;
    return number_of_this;
}

int scalar_no_grad_here(void) {
    const uint64_t here = this_thread();
    for (size_t i = scalar_global.blocks; i-- > 0;)
        if (blocks.at[i].thread == here) return !blocks.at[i].with_graph;
    return 0;
}

int scalar_enter_block(const void *what, int with_graph) {
    if (pg_grow((void **)&blocks.at, &blocks.capacity, scalar_global.blocks, sizeof *blocks.at) < 0)
        return scalar_fail(PG_ERR_NOMEM);
    blocks.at[scalar_global.blocks++] = (block){what, this_thread(), with_graph};
    return 0;
}

/* Remove the last such block of this thread; if it has none, the last one of another thread. */
void scalar_leave_block(const void *what) {
    const uint64_t here = this_thread();
    size_t found = scalar_global.blocks;
    for (size_t i = scalar_global.blocks; i-- > 0;) {
        if (blocks.at[i].what != what) continue;
        if (found == scalar_global.blocks || blocks.at[i].thread == here) found = i;
        if (blocks.at[i].thread == here) break;
    }
    if (found == scalar_global.blocks) return;
    scalar_global.blocks--;
    memmove(&blocks.at[found], &blocks.at[found + 1],
            (scalar_global.blocks - found) * sizeof *blocks.at);
}

/* Is this a value that a replay must compute? 1, 0, or -1: out of memory. */
static int is_computed_anew(pg_node_id id) {
    if (scalar_global.tracing == 0) return 0;
    if (scalar_tracing()) return 1;
    return pg_trace_depends(scalar_global.graph, id);
}

PyObject *scalar_ungraphed(pg_node_id id) {
    if (scalar_global.leftovers != 0 && scalar_check_operands_of(id) < 0) {
        scalar_release_node(id);
        return NULL;
    }
    if (!scalar_no_grad_here()) return scalar_adopt_node(id);
    const int anew = is_computed_anew(id);
    if (anew == 0) {
        scalar_cut_node(id);
        scalar_note_leaf(id);
        return scalar_adopt_node(id);
    }
    pg_node_id detached = 0;
    pg_status status =
        anew > 0 ? pg_trace_detach(scalar_global.graph, &detached, id) : PG_ERR_NOMEM;
    scalar_release_node(id);
    return status == PG_OK ? scalar_adopt_node(detached) : scalar_raise(status);
}

static PyObject *enter(PyObject *self, PyObject *Py_UNUSED(none)) {
    return scalar_enter_block(self, 0) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *leave(PyObject *self, PyObject *const *Py_UNUSED(error),
                       Py_ssize_t Py_UNUSED(count)) {
    scalar_leave_block(self);
    Py_RETURN_NONE;
}

static PyMethodDef block_methods[] = {
    {"__enter__", enter, METH_NOARGS, NULL},
    {"__exit__", PG_FAST(leave), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* adopt_no_grad(class): give the class an __enter__ and __exit__ that open and close blocks
 * without a graph. */
static PyObject *adopt_no_grad(PyObject *Py_UNUSED(module), PyObject *class) {
    if (!PyType_Check(class)) return PyErr_Format(PyExc_TypeError, "_adopt_no_grad takes a class");
    if (scalar_add_methods((PyTypeObject *)class, block_methods) < 0) return NULL;
    Py_RETURN_NONE;
}

PyMethodDef scalar_no_grad_functions[] = {
    {"adopt_no_grad", adopt_no_grad, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
