/* crew.h - a piece of work in parts, which several threads take: see pg_crew in pygradc.h. */
#ifndef PG_CREW_H
#define PG_CREW_H

#include "pygradc.h"

#include <stdbool.h>
#include <stdint.h>

typedef void pg_part(void *context, size_t part);

/* Run the parts 0 .. count - 1, each once, in any order, at the same time; the calling thread takes
 * its share, and returns when all have ended. What it wrote before is visible to each part, and
 * what parts wrote to the caller. One thread at a time may call it. NULL: there is no crew. */
void pg_crew_share(pg_crew *crew, pg_part *run, void *context, uint32_t count);

/* Is it open, and may there be helpers? */
bool pg_crew_is_open(const pg_crew *crew);

/* Seconds, of some clock. */
double pg_seconds(void);

#endif
