// Stands in for Node's internal header crypto/crypto_tls.h, which eiows takes from a checkout of
// Node's whole source. eiows needs it only to find the TLS state of a socket. The benchmark runs on
// plain TCP, so declarations that let the addon compile are enough; asking for TLS state gives
// nothing.
#ifndef OXWS_BENCH_CRYPTO_TLS_H
#define OXWS_BENCH_CRYPTO_TLS_H

#include <memory>
#include <openssl/ssl.h>

namespace node {
class BaseObject {};
namespace crypto {
class TLSWrap : public BaseObject {
 public:
  const std::unique_ptr<SSL, void (*)(SSL *)> *getSSL() const { return nullptr; }
};
}  // namespace crypto
}  // namespace node

#define ASSIGN_OR_RETURN_UNWRAP(wrap, object) \
  do {                                        \
    (void)(object);                           \
    *(wrap) = nullptr;                        \
    return;                                   \
  } while (0)

#endif
