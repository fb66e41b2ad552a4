"""The running pipeline: settings, sockets, dispatcher, lanes, replicas and their supervisor."""
