// Refusing what a caller got wrong; std::invalid_argument becomes Python's ValueError.
#pragma once

#include <stdexcept>
#include <string>

namespace layerwise {

inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace layerwise
