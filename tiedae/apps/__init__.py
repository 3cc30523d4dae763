"""Folders for apps: C, web pages, npm packages, libraries for Android and iOS."""
