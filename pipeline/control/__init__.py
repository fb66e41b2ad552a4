"""Sources that come and go while a run goes on: what is asked, who does it, and who asks."""
