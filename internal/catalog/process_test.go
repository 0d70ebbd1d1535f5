package catalog_test

func childMain() bool { return false }
