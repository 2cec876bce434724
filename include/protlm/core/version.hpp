#pragma once

/// The version is the only macro that protlm's headers define.
#define PROTLM_VERSION_MAJOR 0
#define PROTLM_VERSION_MINOR 1
#define PROTLM_VERSION_PATCH 0
#define PROTLM_VERSION_STRING "0.1.0"
