"""One function per end point of the V5 API: parameters in, the venue asked, wire rows out."""
