/* graph_bytes.h - graphs to bytes and back, part by part.
 *
 * A part is what lies below a root, less what a living part has already and less the leaves that
 * have an owner outside, who goes another way: its *ends*. So a node that several roots share is in
 * one part only, whichever root comes first, and no part is copied twice.
 * A packer knows where every node of every living part is.
 */
#ifndef PG_PACK_H
#define PG_PACK_H

#include "graph/graph.h"

/* Where a node is: the number of its part, 0 for none, and its place in it. */
typedef struct pg_place {
    uint32_t part, index;
} pg_place;

typedef struct pg_packer {
    pg_place *places; /* for each slot of the arena; kept for the next time */
    size_t capacity;
    uint32_t last; /* the number of the newest part */
} pg_packer;

/* Each node of a part is referenced by it. */
typedef struct pg_part {
    uint32_t number;  /* 0: read from bytes, and unknown to the packer */
    pg_node_id *ids;  /* children before parents */
    pg_node_id *ends; /* used by these, and elsewhere; not referenced by the part itself */
    size_t count, end_count;
} pg_part;

pg_place pg_place_of(const pg_packer *packer, pg_node_id id);

/* What is below root. Out: part_ret, pg_part_free when done.
 * Returns: PG_OK; PG_ERR_NOMEM, _LIMIT, _BAD_NODE; PG_ERR_UNTRACEABLE: a node of a recording. */
pg_status pg_part_collect(pg_graph *graph, pg_packer *packer, pg_part *part_ret, pg_node_id root);
/* Nodes that only the part held are freed. */
void pg_part_free(pg_graph *graph, pg_packer *packer, pg_part *part);

/* What number a variadic node's tag has in the file; UINT32_MAX: none can be given. */
typedef uint32_t pg_number_tag(void *context, void *tag);
/* The tag of this number, with a reference that the node takes over; NULL: there is none that goes
 * with a node of this kind. */
typedef void *pg_find_tag(void *context, uint32_t number, pg_variadic_kind kind);

/* A part as bytes.
 * write: bytes_ret  as many as pg_part_bytes says. Returns: PG_OK; PG_ERR_NOMEM; PG_ERR_STOPPED: a
 *                   tag has no number
 * read:  builds it on count living ends. Whatever the bytes: a sound graph or nothing.
 *        Returns: PG_OK; PG_ERR_NOMEM, _LIMIT, _BAD_NODE; PG_ERR_BAD_FILE */
size_t pg_part_bytes(const pg_graph *graph, const pg_part *part);
pg_status pg_part_write(const pg_graph *graph, const pg_part *part, uint8_t *bytes_ret,
                        pg_number_tag *number_tag, void *context);
pg_status pg_part_read(pg_graph *graph, pg_part *part_ret, const uint8_t *bytes, size_t byte_count,
                       const pg_node_id *ends, size_t end_count, pg_find_tag *find_tag,
                       void *context);

#endif
