package graph

// Names are the names of the configuration's feeds, under which their cursors and status are kept.
func (c Config) Names() []string {
	c = c.withDefaults()
	names := make([]string, len(c.Feeds))
	for i, feed := range c.Feeds {
		names[i] = c.Name + "/" + feed
	}
	return names
}
