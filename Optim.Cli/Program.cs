using System.Globalization;
using Optim.Cli.Commands;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;

// Commands that save what they have done stop cleanly; the others end where they stand.
var saves = args.Length > 0 && args[0] is "train" or "race";
using var interruption = saves ? new Interruption() : null;
var code = OptimCommand.Run(args, Console.Out, Console.Error, interruption?.Token ?? CancellationToken.None);
return code == OptimCommand.Interrupted && interruption is not null ? interruption.ExitCode : code;
