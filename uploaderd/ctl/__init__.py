"""uploaderctl, the operator's command."""
