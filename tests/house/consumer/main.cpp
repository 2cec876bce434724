#include <protlm/core/philox.hpp>

#include <iostream>

int main() {
    protlm::PhiloxWords const words = protlm::philox({{0, 0, 0, 0}}, 0);
    std::cout << std::hex << words[0] << '\n';
    return words[0] == 0x6627e8d5 ? 0 : 1;
}
