"""What pagestream costs, measured beside its peers and limits in one run: `make bench`."""
