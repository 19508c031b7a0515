// How a server wants libraries that all threads share to behave.
#pragma once

namespace flotilla {

// First of all, while there is one thread.
void SetUpLibraries();

}  // namespace flotilla
