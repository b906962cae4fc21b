/* graph_bytes.h - serialize graphs, part by part, and read them back.
 *
 * A part is the subgraph below a root, without the nodes that a living part has already and without
 * leaves that have an external owner and are passed separately: its boundary nodes, or ends. So a
 * node shared by several roots is in one part only, whichever root comes first, and no part is
 * copied twice.
 * A packer maps every node of every living part to its place. */
#ifndef PG_PACK_H
#define PG_PACK_H

#include "graph/graph.h"

/* A node's place: the number of its part, 0 for none, and its index in it. */
typedef struct pg_place {
    uint32_t part, index;
} pg_place;

typedef struct pg_packer {
    pg_place *places; /* for each slot of the arena; kept between calls */
    size_t capacity;
    uint32_t last; /* the number of the newest part */
} pg_packer;

/* A part holds a reference to each of its nodes. */
typedef struct pg_part {
    uint32_t number;  /* 0: read from bytes, and unknown to the packer */
    pg_node_id *ids;  /* topological: children before parents */
    pg_node_id *ends; /* boundary nodes: children of ids in other parts or with owners; not
                         referenced by the part */
    size_t count, end_count;
} pg_part;

pg_place pg_place_of(const pg_packer *packer, pg_node_id id);

/* Collect the part below root. Out: part_ret, pg_part_free when done.
 * Returns: PG_OK; PG_ERR_NOMEM, _LIMIT, _BAD_NODE; PG_ERR_UNTRACEABLE: a node of a recording. */
pg_status pg_part_collect(pg_graph *graph, pg_packer *packer, pg_part *part_ret, pg_node_id root);
/* Release a part's nodes; those without other references are freed. */
void pg_part_free(pg_graph *graph, pg_packer *packer, pg_part *part);

/* The number of a variadic node's tag in the file; UINT32_MAX if it can't have one. */
typedef uint32_t pg_number_tag(void *context, void *tag);
/* The tag with this number, and a reference to it, which the node takes over; NULL if there is none
 * that fits a node of this kind. */
typedef void *pg_find_tag(void *context, uint32_t number, pg_variadic_kind kind);

/* A part's bytes, and the living boundary nodes on which it is built. */
typedef struct pg_packed_part {
    const uint8_t *bytes;
    size_t byte_count;
    const pg_node_id *ends;
    size_t end_count;
} pg_packed_part;

/* Serialize a part.
 * write: bytes_ret  pg_part_bytes of them. Returns: PG_OK; PG_ERR_NOMEM; PG_ERR_STOPPED: a tag has
 *                   no number
 * read:  whatever the bytes, the result is a valid graph or none. Returns: PG_OK; PG_ERR_NOMEM,
 *        _LIMIT, _BAD_NODE; PG_ERR_BAD_FILE */
size_t pg_part_bytes(const pg_graph *graph, const pg_part *part);
pg_status pg_part_write(const pg_graph *graph, const pg_part *part, uint8_t *bytes_ret,
                        pg_number_tag *number_tag, void *context);
pg_status pg_part_read(pg_graph *graph, pg_part *part_ret, const pg_packed_part *packed,
                       pg_find_tag *find_tag, void *context);

#endif
