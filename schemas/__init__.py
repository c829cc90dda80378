"""What is on the wire: messages, topics, the partition function, the codec and golden examples."""
