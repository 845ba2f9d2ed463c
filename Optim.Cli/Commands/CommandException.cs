namespace Optim.Cli.Commands;

/// <summary>What was asked for on the command line makes no sense; the message says why, in one sentence.</summary>
public sealed class CommandException(string message) : Exception(message);
