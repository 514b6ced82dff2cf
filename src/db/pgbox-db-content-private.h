#ifndef PGBOX_DB_CONTENT_PRIVATE_H
#define PGBOX_DB_CONTENT_PRIVATE_H

struct pgbox_content;
struct pgbox_params;

/* Bind a content: header, header_complete, digest, body_size, head, size,
   virtual_size, envelope, bodystructure. Nothing is copied. */
void pgbox_content_params(struct pgbox_params *params,
			  const struct pgbox_content *content);

#endif
