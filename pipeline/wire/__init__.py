"""What travels: the envelope, its messages, and the sockets that carry it."""
