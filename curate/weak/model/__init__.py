"""The label model: learns from agreements and conflicts of votes how far each labeling function is to be trusted."""
