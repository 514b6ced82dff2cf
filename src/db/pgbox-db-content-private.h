#ifndef PGBOX_DB_CONTENT_PRIVATE_H
#define PGBOX_DB_CONTENT_PRIVATE_H

#include "pgbox-base64-runs.h"

struct pgbox_content;
struct pgbox_params;

/* Bytes of a body as they are stored: valid until the object is freed. */
struct pgbox_piece {
	const unsigned char *data;
	size_t size;
	ARRAY_TYPE(pgbox_base64_runs) runs;

	buffer_t *packed;
};

/* Make what is to be stored of a piece; data may be NULL, and must stay valid. */
void pgbox_piece_init(struct pgbox_piece *piece_r, const unsigned char *data,
		      size_t size);
void pgbox_piece_deinit(struct pgbox_piece *piece);

/* Make what is to be stored of a content's head. */
void pgbox_content_piece_init(struct pgbox_piece *piece_r,
			      const struct pgbox_content *content);
/* Bind a content: header, header_complete, digest, body_size, head, size,
   virtual_size, envelope, bodystructure, base64. Nothing large is copied. */
void pgbox_content_params(struct pgbox_params *params,
			  const struct pgbox_content *content,
			  const struct pgbox_piece *head);

#endif
