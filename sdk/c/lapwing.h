// Write a Lapwing plugin in C: define `lapwing_plugin`, with a function for each kind.
//
// A function that fails has already said how the run ends (as down, when the target caused it; as unknown, when the worker
// refused the call): the check only has to return. Until another `lw_connect` or `lw_http_get` succeeds, or `lw_clear` says
// that it does not matter, all further calls fail as well and nothing is up. What these functions give lasts until the end of
// the run, and is then freed and closed. What is not here is in plugin.h, the whole interface as generated: `lw_net_failed`
// judges its network errors too. Times are nanoseconds, there and here.

#ifndef LAPWING_H
#define LAPWING_H

#include "plugin.h"

#define LW_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define LW_CHECKED __attribute__((warn_unused_result))

// One run. Its config was validated against the schema, and defaults were filled in.
typedef struct lw_run lw_run;

// Something a check needs of the worker, for the operator to grant.
typedef struct {
  const char *name;   // "net.http", "net.tcp", "net.udp", "net.dns", "secret", "state"
  const char *scope;  // a host pattern or secret name, such as "{config.host}:{config.port}"; NULL for none
  const char *reason; // why, for the operator
  bool optional;
} lw_capability;

// A kind of check.
typedef struct {
  const char *name; // ^[a-z][a-z0-9-]{0,31}$
  const char *title;
  const char *summary;
  const char *schema;                // JSON Schema of the config
  const char *example;               // a config that fits it
  const char *const *sensitive;      // JSON pointers to secrets in the config, NULL at the end; or NULL
  const lw_capability *capabilities; // an entry without a name at the end; or NULL
  void (*check)(lw_run *run);        // one run; must end with a verdict
  void (*validate)(lw_run *run);     // tells by `lw_problem` what the schema cannot, of a config that fits it; or NULL. Asked
                                     // when somebody sets up or tries out a monitor, not in its runs: it may read the config
                                     // and log, and nothing else
} lw_kind;

typedef struct {
  const char *name;
  const char *version;
  const char *summary;
  const char *license;  // or NULL
  uint32_t max_reuse;   // runs of one monitor that an instance may serve; absent or 1, each has a fresh one. With more of them
                        // statics last from run to run, and so does what the plugin takes by `malloc` or from plugin.h
  const lw_kind *kinds; // an entry without a name at the end
} lw_plugin;

// To be defined by the plugin.
extern const lw_plugin lapwing_plugin;

// The verdict. The last one counts, but a call that failed is not made good by `lw_up` and `lw_degraded`. `reason` is a stable
// snake_case word.
void lw_up(lw_run *run, const char *message, ...) LW_PRINTF(2, 3);
void lw_degraded(lw_run *run, const char *reason, const char *message, ...) LW_PRINTF(3, 4);
void lw_down(lw_run *run, const char *reason, const char *message, ...) LW_PRINTF(3, 4);

// No verdict: the check could not be carried out.
typedef enum { LW_INVALID_CONFIG, LW_UNSUPPORTED, LW_DENIED, LW_RETRYABLE, LW_INTERNAL } lw_failure;
void lw_fail(lw_run *run, lw_failure failure, const char *message, ...) LW_PRINTF(3, 4);

// A call that failed does not matter: its verdict is taken back, and calls go on.
void lw_clear(lw_run *run);

// Something wrong with the config, for `validate`: the JSON pointer to the value ("/port", "" for the whole), and what is wrong.
void lw_problem(lw_run *run, const char *pointer, const char *message, ...) LW_PRINTF(3, 4);

// What supports it. At most 32 attributes and 32 metrics; more are left out.
void lw_latency(lw_run *run, uint64_t nanoseconds);
void lw_attribute_text(lw_run *run, const char *key, const char *value);
void lw_attribute_int(lw_run *run, const char *key, int64_t value);
void lw_metric(lw_run *run, const char *name, double value, const char *unit); // unit or NULL

// The config's members. What is absent, null or of another type gives `otherwise`. A key that the schema does not have ends the
// run as the plugin's fault; so does a text with a NUL in it, as an invalid config. An integer beyond the type's range is its end.
const char *lw_text(lw_run *run, const char *key, const char *otherwise);
int64_t lw_int(lw_run *run, const char *key, int64_t otherwise);
bool lw_bool(lw_run *run, const char *key, bool otherwise);

// HTTP. Every status is a response.
typedef struct {
  uint16_t status;
  const char *body; // ends with a zero beyond its length
  size_t length;
  bool truncated; // there was more of it
  uint64_t total; // nanoseconds
} lw_response;
LW_CHECKED bool lw_http_get(lw_run *run, const char *url, lw_response *response);
// The body if it is whole; else NULL, and the run is over as unknown: of a part nothing can be concluded.
LW_CHECKED const char *lw_body(lw_run *run, const lw_response *response);

// A secret of the operator's; NULL when it is not granted by `reveal`, or not to be had. It takes the capability "secret".
LW_CHECKED const char *lw_secret(lw_run *run, const char *name);

// TCP. Reading gives bytes with a zero beyond them (NUL bytes of the peer stand among them), a line without its end, or NULL
// when it failed.
typedef lapwing_plugin_tcp_borrow_connection_t lw_connection;
LW_CHECKED bool lw_connect(lw_run *run, const char *host, uint16_t port, lw_connection *connection);
LW_CHECKED bool lw_start_tls(lw_run *run, lw_connection connection, const char *server_name, bool verify); // server_name or NULL
LW_CHECKED bool lw_write(lw_run *run, lw_connection connection, const void *data, size_t length);
LW_CHECKED char *lw_read_line(lw_run *run, lw_connection connection, uint32_t max);
LW_CHECKED char *lw_read_exact(lw_run *run, lw_connection connection, uint32_t length);
// What has come, at most `max` bytes; none when the peer has closed.
LW_CHECKED char *lw_read(lw_run *run, lw_connection connection, uint32_t max, size_t *length);
// All until the peer closes; NULL, and the run is over as unknown, when that is more than `max` bytes.
LW_CHECKED char *lw_read_to_end(lw_run *run, lw_connection connection, uint32_t max, size_t *length);
uint64_t lw_elapsed(lw_connection connection); // nanoseconds since the connection was begun, as the worker measured them

// Judges a network error of plugin.h as the functions above do. `during` leads the message; may be NULL. Gives false.
bool lw_net_failed(lw_run *run, const lapwing_plugin_net_types_net_error_t *error, const char *during);

// Nanoseconds a call may take: what is left of the run, less a moment to tell how it ended. For calls of plugin.h.
uint64_t lw_timeout(void);

typedef enum { LW_TRACE, LW_DEBUG, LW_INFO, LW_WARN, LW_ERROR } lw_level;
void lw_log(lw_level level, const char *message, ...) LW_PRINTF(2, 3);

// Text for the calls of plugin.h; the text must outlive the call.
plugin_string_t lw_string(const char *text);

#endif
