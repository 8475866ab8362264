package demo

import (
	"github.com/spf13/cobra"
)

// Command is `penstock demo`. color tells whether the output may be coloured.
func Command(color func(*cobra.Command) bool) *cobra.Command {
	var cfg Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run hubs, spokes and a stand-in provider on loopback, and check the main job",
		Long: `Run the main job on loopback with real processes: a stand-in provider, two hubs on one embedded catalog, two spokes and
a gateway without a hub. Every line that begins with √ was checked. The topology then stays up until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Out, cfg.Color = cmd.OutOrStdout(), color(cmd)
			return Run(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&cfg.Bin, "bin", "bin", "folder with the programs hub, spoke, penstock and provider")
	cmd.Flags().StringVar(&cfg.Dir, "dir", ".demo", "state folder, made anew")
	cmd.Flags().BoolVar(&cfg.Once, "once", false, "end after the checks, with exit code 0 or 1")
	return cmd
}
