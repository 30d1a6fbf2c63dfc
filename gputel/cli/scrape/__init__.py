"""``gputel scrape``: targets, configurations and saved answers in, what would be stored out."""
