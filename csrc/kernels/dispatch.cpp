#include "kernels/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "base/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace layerwise {
namespace {

InstructionSet chosen{nullptr, nullptr};

#if defined(__x86_64__)
// CPUID by hand: __builtin_cpu_supports answers 0 for everything with some compilers' runtime libraries.
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

bool has(unsigned bits, std::initializer_list<int> wanted) {
  for (const int bit : wanted) {
    if ((bits >> bit & 1u) == 0) return false;
  }
  return true;
}

// The vector registers that the operating system saves (XCR0); without that the instructions must not be used.
bool saved(unsigned mask) {
  if (!has(cpuid(1).c, {27})) return false;  // OSXSAVE
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & mask) == mask;
}

bool has_v2() { return has(cpuid(1).c, {0, 9, 19, 20, 23}); }  // SSE3 SSSE3 SSE4.1 SSE4.2 POPCNT
bool has_v3() {
  return has_v2() && saved(0x6) && has(cpuid(1).c, {12, 22, 28, 29}) &&  // FMA MOVBE AVX F16C
         has(cpuid(7).b, {3, 5, 8}) && has(cpuid(0x80000001).c, {5});    // BMI1 AVX2 BMI2, LZCNT
}
bool has_v4() { return has_v3() && saved(0xe6) && has(cpuid(7).b, {16, 17, 28, 30, 31}); }  // AVX-512 F DQ CD BW VL
// Every prediction asks; a virtual machine's host answers a CPUID after some 20 microseconds.
bool has_bfloat16() {
  static const bool has_it = has(cpuid(7, 1).a, {5});  // AVX512-BF16
  return has_it;
}
#endif

}  // namespace

std::vector<InstructionSet> supported_instruction_sets() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  if (has_v2()) sets.push_back({"x86-64-v2", &kernels_x86_64_v2});
  if (has_v3()) sets.push_back({"x86-64-v3", &kernels_x86_64_v3});
  if (has_v4()) sets.push_back({"x86-64-v4", &kernels_x86_64_v4});
#elif defined(__aarch64__)
  sets.push_back({"neon", &kernels_neon});
#endif
  return sets;
}

void choose_instruction_set() {
  const std::vector<InstructionSet> sets = supported_instruction_sets();
  if (sets.empty()) throw std::runtime_error("layerwise needs an x86-64-v2 processor (SSE4.2) or newer; this one is older");
  chosen = sets.back();
  const char* asked = std::getenv("LAYERWISE_ISA");
  if (asked == nullptr || *asked == '\0') return;
  std::string names;
  for (const InstructionSet& set : sets) {
    if (std::string(asked) == set.name) {
      chosen = set;
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(set.name);
  }
  throw std::runtime_error("LAYERWISE_ISA is '" + std::string(asked) +
                           "', which this processor or build cannot run; it can be one of: " + names + "; unset it to use the fastest");
}

const InstructionSet& instruction_set() { return chosen; }

const BFloat16Kernels* bfloat16_kernels() {
#if defined(__x86_64__)
  if (chosen.kernels == &kernels_x86_64_v4 && has_bfloat16()) return &kernels_bfloat16;
#endif
  return nullptr;
}

const BFloat16Kernels& require_bfloat16_kernels() {
  const BFloat16Kernels* found = bfloat16_kernels();
  require(found != nullptr, "bfloat16 products need a processor with AVX512-BF16, and LAYERWISE_ISA unset or x86-64-v4");
  return *found;
}

template <>
const Kernels<float>& kernels<float>() {
  return chosen.kernels->f32;
}
template <>
const Kernels<double>& kernels<double>() {
  return chosen.kernels->f64;
}

}  // namespace layerwise
