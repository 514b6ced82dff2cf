#ifndef PGBOX_BASE64_RUNS_H
#define PGBOX_BASE64_RUNS_H

#include "array.h"
#include "buffer.h"

/* Attachments are base64, of which no compression of PostgreSQL's makes less. So
   a piece of a body is stored with its runs of base64 lines decoded, and with what
   it takes to encode them again, the same to the byte: four integers for each run,

     at    where in the stored bytes those of the run begin
     size  how many they are
     line  characters in each line of the run, a multiple of four
     end   bytes in a line's end: 1 for LF, 2 for CRLF

   A line of that many characters that ends with no padding has a line's end, the
   rest after the last of them has none: its end, if there is one, isn't of the run.
   What is between runs is stored as it is. pgbox.body_bytes() does in SQL what
   pgbox_base64_runs_restore() does here. */

ARRAY_DEFINE_TYPE(pgbox_base64_runs, int32_t);

/* Runs of fewer bytes aren't worth their entry. */
#define PGBOX_BASE64_RUN_MIN 512

/* Fill stored and runs, which are empty, with what is to be stored of a piece.
   Returns FALSE, with both still empty, if that is the piece as it is. Each run was
   encoded again and compared. */
bool pgbox_base64_runs_pack(const unsigned char *piece, size_t size,
			    buffer_t *stored,
			    ARRAY_TYPE(pgbox_base64_runs) *runs)
	ATTR_WARN_UNUSED_RESULT;
/* Append the piece to dest. Returns 0, or -1, with dest as it was, if the runs
   don't fit the stored bytes or if the piece would be larger than max_size. count
   is that of all integers; with none of them the bytes are the piece. */
int pgbox_base64_runs_restore(const unsigned char *stored, size_t size,
			      const int32_t *runs, unsigned int count,
			      size_t max_size, buffer_t *dest)
	ATTR_WARN_UNUSED_RESULT;

#endif
