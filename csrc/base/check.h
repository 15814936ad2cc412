// Refusing what a caller got wrong; std::invalid_argument becomes Python's ValueError.
#pragma once

#include <stdexcept>
#include <string>
#include <type_traits>

namespace layerwise {

// The message, or a function that makes it where it is needed: made for each call that passes, it would cost more than the checks.
template <class Message>
void require(bool condition, const Message& message) {
  if (condition) return;
  if constexpr (std::is_invocable_v<Message>) {
    throw std::invalid_argument(message());
  } else {
    throw std::invalid_argument(message);
  }
}

}  // namespace layerwise
