// Which instruction set is in use: the best this processor has, or the one LAYERWISE_ISA names.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace layerwise {

struct InstructionSet {
  const char* name;  // as LAYERWISE_ISA spells it
  const KernelSet* kernels;
};

std::vector<InstructionSet> supported_instruction_sets();  // slowest first
// Called once when the module is loaded; throws std::runtime_error when LAYERWISE_ISA names what cannot run here.
void choose_instruction_set();
const InstructionSet& instruction_set();

template <class T>
const Kernels<T>& kernels();
// Null where the processor has no such products, or LAYERWISE_ISA names a set without them.
const BFloat16Kernels* bfloat16_kernels();
// The same, or std::invalid_argument that says what is missing.
const BFloat16Kernels& require_bfloat16_kernels();

}  // namespace layerwise
