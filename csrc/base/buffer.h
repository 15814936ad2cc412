// The only owner of memory for numbers: aligned, never resized, zeroed unless none of it is read before it is written.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

#include "base/types.h"

namespace layerwise {

// What a buffer holds at first: 0, or whatever the memory held (which saves a pass through it).
enum class Contents { zeros, unset };

template <class T>
class Buffer {
 public:
  Buffer() = default;
  // `place` (0, 1, 2, ...) shifts the start: buffers that are walked together (weights, moments, gradients) must not start
  // at equal offsets modulo 4 KB and 64 KB, or their cache lines compete.
  explicit Buffer(index_t size, index_t place = 0, Contents contents = Contents::zeros) : size_(size) {
    if (size == 0) return;
    const std::size_t skew = static_cast<std::size_t>(place % 8) * 4352;
    if (size < 0 || static_cast<std::size_t>(size) > (std::numeric_limits<std::size_t>::max() / 2 - skew - kAlignment) / sizeof(T)) {
      throw std::bad_alloc();
    }
    const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T) + skew;
    memory_ = contents == Contents::zeros ? std::calloc(bytes + kAlignment, 1) : std::malloc(bytes + kAlignment);
    if (memory_ == nullptr) throw std::bad_alloc();
    use_large_pages(memory_, bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(memory_);
    const std::uintptr_t aligned = (address + kAlignment - 1) / kAlignment * kAlignment;
    data_ = reinterpret_cast<T*>(aligned + skew);
  }
  ~Buffer() { std::free(memory_); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_t size() const { return size_; }

 private:
  static constexpr std::size_t kAlignment = 4096;

  // A pass through tens of megabytes in pages of 4 KB spends 3 to 5 % of its time on looking up their addresses. A wish: the result
  // does not matter.
  static void use_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
    constexpr std::size_t kLarge = std::size_t{4} << 20;
    if (bytes < kLarge) return;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    madvise(reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment), bytes / kAlignment * kAlignment, MADV_HUGEPAGE);
#endif
  }

  void swap(Buffer& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  void* memory_ = nullptr;
  T* data_ = nullptr;
  index_t size_ = 0;
};

}  // namespace layerwise
