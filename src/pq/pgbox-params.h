#ifndef PGBOX_PARAMS_H
#define PGBOX_PARAMS_H

#include "guid.h"

/* Bound parameters of one statement, in libpq's binary format. Values are
   appended in the order of the statement's "-- in:" head; the types are
   checked against that head when the statement is sent (i_assert).

   Scalars and arrays are encoded into memory of the params' own pool. Large
   bytea values are referenced, not copied (see pgbox_params_bytea_ref()). */
struct pgbox_params;

/* Lives on the data stack: valid until the current frame ends. */
struct pgbox_params *pgbox_params_new(void);

/* Append one value. A NULL goes with every type. */
void pgbox_params_null(struct pgbox_params *params);
void pgbox_params_bool(struct pgbox_params *params, bool value);
void pgbox_params_int16(struct pgbox_params *params, int16_t value);
void pgbox_params_int32(struct pgbox_params *params, int32_t value);
void pgbox_params_int64(struct pgbox_params *params, int64_t value);
/* NULL value: SQL NULL. The text must be valid UTF-8 without NUL for the
   server to accept it; anything else comes back as PGBOX_ERROR_INPUT. */
void pgbox_params_text(struct pgbox_params *params, const char *value);
/* copies the bytes; data == NULL: SQL NULL */
void pgbox_params_bytea(struct pgbox_params *params,
			const void *data, size_t size);
/* doesn't copy: data must stay valid until the statement is sent */
void pgbox_params_bytea_ref(struct pgbox_params *params,
			    const void *data, size_t size);
/* 16 bytes; NULL: SQL NULL */
void pgbox_params_uuid(struct pgbox_params *params, const guid_128_t value);

/* One-dimensional arrays. An empty array is an empty SQL array, not NULL. */
void pgbox_params_bool_array(struct pgbox_params *params,
			     const bool *values, unsigned int count);
void pgbox_params_int16_array(struct pgbox_params *params,
			      const int16_t *values, unsigned int count);
void pgbox_params_int32_array(struct pgbox_params *params,
			      const int32_t *values, unsigned int count);
void pgbox_params_int64_array(struct pgbox_params *params,
			      const int64_t *values, unsigned int count);
/* bigint[] where 0 becomes SQL NULL: no identity is 0 */
void pgbox_params_id_array(struct pgbox_params *params,
			   const int64_t *values, unsigned int count);
/* NULL elements become SQL NULLs */
void pgbox_params_text_array(struct pgbox_params *params,
			     const char *const *values, unsigned int count);
void pgbox_params_uuid_array(struct pgbox_params *params,
			     const guid_128_t *values, unsigned int count);
/* values[i] of sizes[i] bytes; NULL elements become SQL NULLs */
void pgbox_params_bytea_array(struct pgbox_params *params,
			      const unsigned char *const *values,
			      const size_t *sizes, unsigned int count);

#endif
