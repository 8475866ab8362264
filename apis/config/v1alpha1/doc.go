// Package v1alpha1 holds the configuration files of hub and spoke (ComponentConfig style), one strict YAML file each.
package v1alpha1
