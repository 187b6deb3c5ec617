"""`flawsmith up`: queue, API and worker as child processes of one command, kept in one folder."""
