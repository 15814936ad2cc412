"""What all tests need."""

import signal

# A shell starts its background jobs with Ctrl-C ignored, and children inherit that: nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
