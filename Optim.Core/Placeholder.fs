module internal Optim.Core.Placeholder
