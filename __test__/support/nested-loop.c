/* An addon whose only function runs a turn of the event loop from within a callback, as the package `deasync` does. What it
   needs of Node-API and libuv is declared here, so that it compiles without Node's headers. */

struct uv_loop_s;
int uv_run(struct uv_loop_s *, int mode);
#define UV_RUN_NOWAIT 2

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef napi_value (*napi_callback)(napi_env, void *info);
int napi_get_uv_event_loop(napi_env, struct uv_loop_s **);
int napi_create_function(napi_env, const char *name, unsigned long length, napi_callback, void *data, napi_value *);

static napi_value run_loop(napi_env env, void *info) {
  struct uv_loop_s *loop;
  (void)info;
  if (napi_get_uv_event_loop(env, &loop) == 0) uv_run(loop, UV_RUN_NOWAIT);
  return 0;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  if (napi_create_function(env, "runLoop", 7, run_loop, 0, &function) != 0) return exports;
  return function;
}
