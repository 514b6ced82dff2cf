#ifndef PGBOX_PLUGIN_H
#define PGBOX_PLUGIN_H

struct module;

extern const char *pgbox_plugin_version;

/* Called by Dovecot when it loads and unloads the plugin: registers the
   storage and list drivers, and the quota backend. */
void pgbox_plugin_init(struct module *module);
void pgbox_plugin_deinit(void);

#endif
