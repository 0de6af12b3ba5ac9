"""What stands above single runs: the engines that make them, and in time what hands them many."""
