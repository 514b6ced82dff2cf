#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "pgbox-base64-runs.h"

/* Dovecot's base64 decodes a seventh of the bytes in the same time. */
#include <openssl/evp.h>

/* integers of a run in the array */
#define RUN_FIELDS 4
/* the longest that a mail may have on its way, in fours */
#define RUN_LINE_MAX 996
/* shorter ones are words or ornaments: not looked at */
#define PACK_LINE_MIN 20
/* a line, its end, and the NUL that OpenSSL puts behind */
#define RUN_LINE_BUFFER (RUN_LINE_MAX + 2 + 1)

struct base64_run {
	/* as in the array */
	size_t at, size;
	unsigned int line, end;
};

static size_t run_line_bytes(const struct base64_run *run)
{
	return run->line / 4 * 3;
}

static size_t run_piece_size(const struct base64_run *run)
{
	return (run->size + 2) / 3 * 4 +
		run->size / run_line_bytes(run) * run->end;
}

/* Encode one line of the run, which is the rest if it is short. Returns its
   size. */
static size_t run_encode_line(const struct base64_run *run,
			      const unsigned char *bytes, size_t size,
			      unsigned char *dest)
{
	unsigned char *end = dest + EVP_EncodeBlock(dest, bytes, size);

	if (size == run_line_bytes(run)) {
		if (run->end == 2)
			*end++ = '\r';
		*end++ = '\n';
	}
	return end - dest;
}

/*
 * Packing
 */

struct base64_pack {
	/* of the piece: its end, and the first byte that isn't in stored yet */
	const unsigned char *end, *rest;
	buffer_t *stored;
	ARRAY_TYPE(pgbox_base64_runs) *runs;
};

/* Decode a line of full length. Returns FALSE if it isn't one, or is padded. */
static bool pack_decode_line(const unsigned char *line, size_t size,
			     unsigned char *dest)
{
	/* OpenSSL takes = for A wherever it is */
	return EVP_DecodeBlock(dest, line, size) == (int)(size / 4 * 3) &&
		memchr(line, '=', size) == NULL;
}

/* Returns how many characters there are up to the next line's end, or to the end of
   the piece; one more than the run's lines have stands for all that is more. */
static size_t pack_line_size(const struct base64_pack *pack,
			     const struct base64_run *run,
			     const unsigned char *line)
{
	const size_t left = I_MIN((size_t)(pack->end - line),
				  (size_t)run->line + 2);
	const unsigned char *lf = memchr(line, '\n', left);

	if (lf == NULL)
		return I_MIN(left, (size_t)run->line + 1);
	return lf - line - (lf > line && lf[-1] == '\r' ? 1 : 0);
}

/* Decode a last line, which is shorter or padded. Returns FALSE if it isn't one:
   then it isn't of the run. */
static bool pack_decode_last(struct base64_run *run, const unsigned char *line,
			     size_t size, unsigned char *dest)
{
	unsigned char encoded[RUN_LINE_BUFFER];
	size_t bytes;

	if (size == 0 || size % 4 != 0 || size > run->line ||
	    EVP_DecodeBlock(dest, line, size) != (int)(size / 4 * 3))
		return FALSE;
	bytes = size / 4 * 3;
	if (line[size - 1] == '=')
		bytes -= line[size - 2] == '=' ? 2 : 1;
	/* bytes that would have a line's end behind them, padding elsewhere, bits
	   that padding leaves over */
	if (bytes == run_line_bytes(run) ||
	    run_encode_line(run, dest, bytes, encoded) != size ||
	    memcmp(encoded, line, size) != 0)
		return FALSE;
	run->size += bytes;
	return TRUE;
}

/* Decode lines from here on into stored. Returns where the run ends. */
static const unsigned char *
pack_decode(struct base64_pack *pack, struct base64_run *run,
	    const unsigned char *line)
{
	const char *line_end = run->end == 2 ? "\r\n" : "\n";
	const size_t left = pack->end - line;
	unsigned char *dest;
	size_t size;

	dest = buffer_append_space_unsafe(pack->stored, left / 4 * 3 + 3);
	while ((size_t)(pack->end - line) >= run->line + run->end &&
	       memcmp(line + run->line, line_end, run->end) == 0 &&
	       pack_decode_line(line, run->line, dest + run->size)) {
		run->size += run_line_bytes(run);
		line += run->line + run->end;
	}
	size = pack_line_size(pack, run, line);
	if (pack_decode_last(run, line, size, dest + run->size))
		line += size;
	return line;
}

/* Returns TRUE if the run's bytes, encoded, are what the piece has. */
static bool pack_is_right(const struct base64_pack *pack,
			  const struct base64_run *run,
			  const unsigned char *piece)
{
	const unsigned char *bytes =
		CONST_PTR_OFFSET(pack->stored->data, run->at);
	unsigned char line[RUN_LINE_BUFFER];
	size_t left, size, encoded;

	for (left = run->size; left > 0; left -= size) {
		size = I_MIN(left, run_line_bytes(run));
		encoded = run_encode_line(run, bytes, size, line);
		if (memcmp(line, piece, encoded) != 0)
			return FALSE;
		bytes += size;
		piece += encoded;
	}
	return TRUE;
}

static void pack_add_run(struct base64_pack *pack, const struct base64_run *run)
{
	const int32_t fields[RUN_FIELDS] = {
		run->at, run->size, run->line, run->end
	};

	array_append(pack->runs, fields, RUN_FIELDS);
}

/* A line of size characters is at this place. Returns where to look on, NULL if no
   run begins here. */
static const unsigned char *
pack_run(struct base64_pack *pack, const unsigned char *line, size_t size,
	 unsigned int end_size)
{
	struct base64_run run = { .line = size, .end = end_size };
	unsigned char first[RUN_LINE_MAX / 4 * 3];
	const unsigned char *run_end;

	if (size < PACK_LINE_MIN || size > RUN_LINE_MAX || size % 4 != 0 ||
	    !pack_decode_line(line, size, first))
		return NULL;
	buffer_append(pack->stored, pack->rest, line - pack->rest);
	pack->rest = line;
	run.at = pack->stored->used;
	run_end = pack_decode(pack, &run, line);
	if (run_end - line < PGBOX_BASE64_RUN_MIN ||
	    run_piece_size(&run) != (size_t)(run_end - line) ||
	    !pack_is_right(pack, &run, line)) {
		buffer_set_used_size(pack->stored, run.at);
		return run_end;
	}
	buffer_set_used_size(pack->stored, run.at + run.size);
	pack_add_run(pack, &run);
	pack->rest = run_end;
	return run_end;
}

static void pack_lines(struct base64_pack *pack)
{
	const unsigned char *line = pack->rest, *lf, *next;
	unsigned int end_size;

	while ((lf = memchr(line, '\n', pack->end - line)) != NULL) {
		end_size = lf > line && lf[-1] == '\r' ? 2 : 1;
		next = pack_run(pack, line, lf + 1 - end_size - line, end_size);
		line = next != NULL ? next : lf + 1;
	}
}

bool pgbox_base64_runs_pack(const unsigned char *piece, size_t size,
			    buffer_t *stored,
			    ARRAY_TYPE(pgbox_base64_runs) *runs)
{
	struct base64_pack pack = {
		.end = piece + size,
		.rest = piece,
		.stored = stored,
		.runs = runs,
	};

	i_assert(stored->used == 0 && array_count(runs) == 0);
	pack_lines(&pack);
	if (array_count(runs) == 0) {
		buffer_set_used_size(stored, 0);
		return FALSE;
	}
	buffer_append(stored, pack.rest, pack.end - pack.rest);
	return TRUE;
}

/*
 * Restoring
 */

/* Returns FALSE if there can't be such a run behind the byte pos of so many that
   are stored. */
static bool
run_read(const int32_t *fields, size_t pos, size_t stored_size,
	 struct base64_run *run_r)
{
	if (fields[0] < 0 || fields[1] <= 0 || fields[2] <= 0 ||
	    fields[2] > RUN_LINE_MAX || fields[2] % 4 != 0 ||
	    (fields[3] != 1 && fields[3] != 2))
		return FALSE;
	run_r->at = fields[0];
	run_r->size = fields[1];
	run_r->line = fields[2];
	run_r->end = fields[3];
	return run_r->at >= pos && run_r->at <= stored_size &&
		run_r->size <= stored_size - run_r->at;
}

static void run_restore(const struct base64_run *run,
			const unsigned char *bytes, buffer_t *dest)
{
	unsigned char rest[RUN_LINE_BUFFER], *line;
	const size_t line_bytes = run_line_bytes(run);
	const size_t rest_bytes = run->size % line_bytes;
	const unsigned char *end = bytes + run->size - rest_bytes;
	size_t size = run_encode_line(run, end, rest_bytes, rest);

	line = buffer_append_space_unsafe(dest, run_piece_size(run) - size);
	for (; bytes < end; bytes += line_bytes)
		line += run_encode_line(run, bytes, line_bytes, line);
	buffer_append(dest, rest, size);
}

static int
runs_restore(const unsigned char *stored, size_t stored_size,
	     const int32_t *runs, unsigned int count, size_t max_size,
	     buffer_t *dest)
{
	struct base64_run run;
	size_t pos = 0, left = max_size;

	for (unsigned int i = 0; i < count; i += RUN_FIELDS) {
		if (!run_read(runs + i, pos, stored_size, &run) ||
		    run.at - pos > left ||
		    run_piece_size(&run) > left - (run.at - pos))
			return -1;
		left -= run.at - pos + run_piece_size(&run);
		buffer_append(dest, stored + pos, run.at - pos);
		run_restore(&run, stored + run.at, dest);
		pos = run.at + run.size;
	}
	if (stored_size - pos > left)
		return -1;
	buffer_append(dest, stored + pos, stored_size - pos);
	return 0;
}

int pgbox_base64_runs_restore(const unsigned char *stored, size_t size,
			      const int32_t *runs, unsigned int count,
			      size_t max_size, buffer_t *dest)
{
	const size_t dest_before = dest->used;

	if (count % RUN_FIELDS == 0 &&
	    runs_restore(stored, size, runs, count, max_size, dest) == 0)
		return 0;
	buffer_set_used_size(dest, dest_before);
	return -1;
}
