LISTEN pgbox_test
